"""`python -m hundredfold_worker FD`: become a zygote that listens on an inherited descriptor."""

import socket
import sys

from hundredfold_worker.zygote import Zygote

if __name__ == "__main__":
    Zygote(socket.socket(fileno=int(sys.argv[1]))).serve()

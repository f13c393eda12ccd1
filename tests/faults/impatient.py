"""Has workers look for another coordinator after two seconds of silence, where they would after ten.

Imported as a plugin, in the zygote that they are forked from: it has no behaviours.
"""

from hundredfold_worker import channel

channel._SILENCE_SECONDS = 2.0  # type: ignore[misc]  # it is final outside of tests

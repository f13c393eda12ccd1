"""What tests of plugins need: conformance kits, public and for pytest. Import the modules in here one by one."""

"""AWS's rules as pure state machines: no I/O, no sleeping, time passed in as an argument."""

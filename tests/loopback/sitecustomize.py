"""Python imports this on start-up in every child of the tests."""

import os

if "LABKIT_TESTS_LEFT_LOOPBACK" in os.environ:
    import stay_home

    stay_home.watch()

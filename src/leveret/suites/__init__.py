"""Tasks written in the layout of other suites: HEAR's folders, X-ARES's tars."""

//! The command line: run, check, test, demo.

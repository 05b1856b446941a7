//! Named fault points for tests.

//! All metrics of the worker; no other module knows a metric name.

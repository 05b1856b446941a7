//! Raw, CSV, JSON ↔ Arrow columns.

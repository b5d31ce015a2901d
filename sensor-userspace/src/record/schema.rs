//! The JSON Schemas of what a record holds.

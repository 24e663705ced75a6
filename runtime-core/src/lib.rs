//! oxrun-core

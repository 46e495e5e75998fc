//! The store: SQLite, one writer thread, group commit.

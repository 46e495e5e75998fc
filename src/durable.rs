//! Write, fsync, rename, fsync the directory: the only code that does.

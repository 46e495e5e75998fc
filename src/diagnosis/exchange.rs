//! Reply texts of Exchange Online.

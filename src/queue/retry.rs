//! When next, when to give up. Pure.

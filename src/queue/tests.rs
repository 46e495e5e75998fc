//! What the queue promises, tried through its own door.

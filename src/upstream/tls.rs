//! TLS towards upstreams and identity providers: trust, verification.

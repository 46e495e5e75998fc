//! submitd: a local SMTP submission proxy.
//!
//! Programs that cannot do OAuth2 hand their mail to it; it makes the mail durable, gets a token for
//! the account and relays to Exchange Online with `AUTH XOAUTH2`.
//!
//! ```text
//!  app ──SMTP──▶ listener ▶ session ▶ queue ▶ delivery ▶ upstream ──SMTP XOAUTH2──▶ Exchange Online
//!                              ▲                 ▲
//!                          accounts            oauth     admin ─▶ queue, oauth, delivery
//! ```
//!
//! Mail goes one way, left to right; an import may only point down in the table that
//! `tests/architecture.rs` holds. Between `session` and `delivery` is the queue; only mail of a listener in
//! direct mode passes by it. `upstream` reports facts, `delivery::verdict` judges them. `admin` shows and
//! steers; no mail goes through it.

pub mod accounts;
pub mod admin;
pub mod app;
pub mod check;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod diagnosis;
pub mod durable;
pub mod http;
pub mod listener;
pub mod mail;
pub mod notify;
pub mod oauth;
pub mod observe;
pub mod queue;
pub mod sandbox;
pub mod secret;
pub mod session;
pub mod smtp;
pub mod tls;
pub mod unix_socket;
pub mod upstream;

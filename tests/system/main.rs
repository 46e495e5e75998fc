//! The real binary against the sandbox and real programs: one sentence a module.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends where it stands")]

mod support;

/// Who may submit and as whom, through which account, and what is rewritten.
mod accounts;
/// Watched and steered over a socket of its own.
mod admin;
/// Binary mail arrives octet for octet, and is not invited where it could not go on.
mod binary;
/// `submitd check` and the mistakes of administrators, told apart from one another.
mod check;
/// The commands a person types, by what they print and their exit codes.
mod cli;
/// Every program in every way, and the table of it.
mod compatibility;
/// Killed at a named point, no mail is lost and only one of unknown fate is sent twice.
mod crash;
/// The largest mail of each program arrives as it was sent.
mod deliver;
/// SMTP with Graph as its detour: when it is taken, what is looked at meanwhile, and when it is left.
mod detour;
/// Every known code, reply and mistake is made, and what the administrator reads is compared.
mod diagnosis;
/// Mail that passes through while its program waits.
mod direct;
/// Every call to the disk may fail; the client may try again.
mod disks;
/// Unix sockets, systemd's sockets, balancers, and how many come through.
mod doors;
/// Reports that were asked for: passed on where the upstream takes them, else answered by us.
mod dsn;
/// What was declared goes on where it is offered, else it comes back.
mod extensions;
/// Disks, upstreams and token endpoints that fail: what is queued goes out all the same, once.
mod faults;
/// Somebody consents at Google, and mail goes out as that person for ever.
mod google;
/// One mail by each way to a token, and what is told where one does not work.
mod grants;
/// Mail by Microsoft Graph, which knows no envelope and answers once.
mod graph;
/// Microsoft Graph by every kind of account, and what `submitd check` says of it.
mod graph_accounts;
/// What Graph answers, and what becomes of mail and account then.
mod graph_answers;
/// The same while the program waits: gathered, sent whole, and nothing kept.
mod graph_direct;
/// Mail that is too large for one request of Graph.
mod graph_large;
/// What is changed in a message, each change by its key.
mod headers;
/// A thousand clients that only sit there cost little.
mod idle;
/// Through servers that are not ours.
mod interop;
/// Killed at random moments again and again, every promise is counted and kept.
mod kills;
/// A mailbox stays within its limits, and within them everybody gets a turn.
mod limits;
/// Much at once, and what is ill disturbs nobody.
mod many;
/// What people are told, once each, and that telling harms nothing.
mod notify;
/// Peers that refuse, reset, swallow and drip; clocks that jump.
mod peers;
/// The power fails: what was not synced is gone, what got a 250 is not.
mod power;
/// Through proxies on the way out.
mod proxies;
/// Mails that wait: listed, looked into, held, released, removed, exported, with a daemon and without.
mod queue;
/// What got a 250 survives kill -9.
mod restart;
/// No secret is ever shown, whatever goes right or wrong.
mod secrets;
/// Programs that call sendmail, mailq and newaliases find them.
mod sendmail;
/// What systemd sees: readiness, the watchdog, a socket that is already open.
mod service;
/// Somebody signs in, in every way, and somebody else tries to.
mod sign_in;
/// SIGTERM drains, a second one does not wait, SIGHUP changes all or nothing.
mod stop;
/// Clients inside TLS, and certificates that change while we run.
mod tls;
/// One token for all, renewed ahead, never over a connection that is not verified.
mod tokens;
/// The stored tokens survive an exchange of their key, a kill at each step of a write, and two writers.
mod vault;
/// The four worlds: what vendors tell their customers to set up works as it stands.
mod worlds;

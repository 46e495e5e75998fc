//! Who may speak over the admin socket.
//!
//! It promises that a caller is judged by what the kernel says of it (SO_PEERCRED, unix(7)), at every
//! request, and that who is refused is told what to do. It must not trust anything the caller sends.

use super::GateError;
use super::answer::Refusal;
use crate::config::Group;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tokio::net::UnixListener;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// The user; none where the kernel did not say.
    user: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { user: stream.io().peer_cred().ok().map(|peer| peer.uid()) }
    }
}

/// Who is let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door {
    own: u32,
    /// The socket has a group. Only its members could connect (mode 0660), so every caller is one.
    has_group: bool,
}

impl Door {
    /// For a socket of ours that lies there.
    pub fn new(path: &Path, has_group: bool) -> std::io::Result<Self> {
        Ok(Self { own: std::fs::symlink_metadata(path)?.uid(), has_group })
    }

    fn admits(self, peer: Peer) -> bool {
        self.has_group || peer.user.is_some_and(|user| user == 0 || user == self.own)
    }
}

/// Lets a request through, or tells why not.
pub(super) async fn admit(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if door.admits(peer) {
        return next.run(request).await;
    }
    tracing::warn!(user = peer.user, "refused at the admin socket");
    Refusal::not_permitted(peer.user).into_response()
}

/// The number of a group. Blocks for the disk.
pub(super) fn number(group: &Group) -> Result<u32, GateError> {
    let name = match group {
        Group::Number(number) => return Ok(*number),
        Group::Name(name) => name,
    };
    let text = std::fs::read_to_string("/etc/group").unwrap_or_default();
    in_file(&text, name).ok_or_else(|| GateError::Group(name.clone()))
}

/// group(5): `name:password:number:members`.
fn in_file(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_our_own_user_are_let_in_and_others_by_the_group() {
        for (has_group, user, admitted) in [
            (false, Some(0), true),
            (false, Some(998), true),
            (false, Some(1000), false),
            (false, None, false),
            (true, Some(1000), true),
        ] {
            let door = Door { own: 998, has_group };
            assert_eq!(door.admits(Peer { user }), admitted, "{has_group} {user:?}");
        }
    }

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let text = "root:x:0:\nmail:x:8:ann,bob\nmail-admins:x:1001:ann\nbroken\nbad:x:y:\n";
        for (name, number) in [
            ("mail", Some(8)),
            ("mail-admins", Some(1001)),
            ("mai", None),
            ("ann", None),
            ("broken", None),
            ("bad", None),
        ] {
            assert_eq!(in_file(text, name), number, "{name}");
        }
    }
}

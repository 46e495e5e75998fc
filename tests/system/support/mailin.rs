//! mailin-embedded as a server that is not ours: plain SMTP, no AUTH, dot-unstuffing of its own.

use mailin_embedded::{Handler, Response, Server, response};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A mail as it took it.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub sender: String,
    pub recipients: Vec<String>,
    pub raw: Vec<u8>,
}

#[derive(Clone)]
struct Desk {
    mail: Taken,
    out: Sender<Taken>,
}

impl Handler for Desk {
    fn mail(&mut self, _: IpAddr, _: &str, from: &str) -> Response {
        self.mail = Taken { sender: from.to_owned(), ..Taken::default() };
        response::OK
    }

    fn rcpt(&mut self, to: &str) -> Response {
        self.mail.recipients.push(to.to_owned());
        response::OK
    }

    fn data(&mut self, octets: &[u8]) -> io::Result<()> {
        self.mail.raw.extend_from_slice(octets);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        // The test may be over; then nobody reads it.
        let _ = self.out.send(std::mem::take(&mut self.mail));
        response::OK
    }
}

/// Starts one that runs as long as the process: it knows no end.
pub fn start() -> (SocketAddr, Receiver<Taken>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (out, taken) = channel();
    std::thread::spawn(move || {
        let mut server = Server::new(Desk { mail: Taken::default(), out });
        server.with_name("mailin.test").with_tcp_listener(listener);
        let _ = server.serve();
    });
    (address, taken)
}

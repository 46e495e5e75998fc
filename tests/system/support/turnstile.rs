//! Stands before a port, counts who passes and keeps the beginning of what they say.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Octets kept of each connection: enough for everything before the mail.
const KEPT: usize = 4096;

/// A port that passes all on to another one.
#[derive(Clone)]
pub struct Turnstile {
    pub port: u16,
    said: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Turnstile {
    /// Its threads end with the connections, the last one with the process.
    pub fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&said);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let number = seen.lock().unwrap().len();
                seen.lock().unwrap().push(Vec::new());
                let Ok(server) = TcpStream::connect(target) else { continue };
                for stream in [&client, &server] {
                    let _ = stream.set_nodelay(true);
                }
                let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || pass(back, forth, |_| {}));
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || {
                    pass(client, server, |octets| {
                        let kept = &mut seen.lock().unwrap()[number];
                        let room = KEPT.saturating_sub(kept.len()).min(octets.len());
                        kept.extend_from_slice(&octets[..room]);
                    });
                });
            }
        });
        Self { port, said }
    }

    /// The beginning of what each client said, by connection.
    pub fn said(&self) -> Vec<String> {
        let said = self.said.lock().unwrap();
        said.iter().map(|octets| String::from_utf8_lossy(octets).into_owned()).collect()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        look(&buffer[..count]);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

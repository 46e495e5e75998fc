//! A peer that misbehaves for real: stands before a server and breaks connections with a reset, lets them
//! starve in a full backlog, or is not there at all.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How many octets of the client each of the next connections passes on before it is reset; after these
/// all goes through.
pub type Limits = Arc<Mutex<Vec<usize>>>;

/// Serves a listener: passes on to `target`, within `limits`, the last one first. Its threads end with
/// the connections, the last one with the process.
pub fn serve(listener: TcpListener, target: SocketAddr, limits: Limits) {
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let limit = limits.lock().unwrap().pop();
            let Ok(server) = TcpStream::connect(target) else { continue };
            for stream in [&client, &server] {
                let _ = stream.set_nodelay(true);
            }
            let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || pass(back, forth, usize::MAX));
            std::thread::spawn(move || pass(client, server, limit.unwrap_or(usize::MAX)));
        }
    });
}

/// Passes `limit` octets on; then both sides see a reset.
fn pass(mut from: TcpStream, mut to: TcpStream, limit: usize) {
    let (mut buffer, mut left) = ([0; 16 * 1024], limit);
    while left > 0 {
        let most = left.min(buffer.len());
        match from.read(&mut buffer[..most]) {
            Ok(0) | Err(_) => break,
            Ok(count) if to.write_all(&buffer[..count]).is_err() => return reset(&from, &to),
            Ok(count) => left -= if limit == usize::MAX { 0 } else { count },
        }
    }
    if left == 0 { reset(&from, &to) } else { drop(to.shutdown(Shutdown::Write)) }
}

/// What is unread or unsent at a close is answered with RST.
fn reset(from: &TcpStream, to: &TcpStream) {
    for stream in [from, to] {
        let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// A listener whose connections take in little ahead of their reader, so that what is under way is no more
/// than the other side's kernel holds: 4 MiB (`net.ipv4.tcp_wmem`).
pub fn narrow() -> TcpListener {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(128).unwrap();
    TcpListener::from(socket)
}

/// A port that swallows every attempt to connect: its backlog is full, so that the kernel drops what
/// comes. The connections that fill it come with it.
pub fn black_hole() -> (TcpListener, Vec<socket2::Socket>) {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let filler = |_| {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address.into());
        filler
    };
    let fillers = (0..4).map(filler).collect();
    (listener, fillers)
}

//! A client that says and expects: for what no real program does on purpose.

use super::daemon::PATIENCE;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

/// One connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects; the greeting is not read yet.
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Connects from an address of this machine, reads the greeting, says EHLO.
    pub fn hello_from(source: [u8; 4], address: SocketAddr) -> std::io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&address.into())?;
        let mut client = Self::over(socket.into())?;
        client.reply()?;
        client.say("EHLO client")?;
        Ok(client)
    }

    fn over(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Connects, reads the greeting, says EHLO.
    pub fn hello(address: SocketAddr) -> std::io::Result<Self> {
        let mut client = Self::connect(address)?;
        client.reply()?;
        client.say("EHLO client")?;
        Ok(client)
    }

    /// Writes octets as they are.
    pub fn write(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(octets)
    }

    /// One whole reply, lines joined by `\n`; an end of the stream is an error.
    pub fn reply(&mut self) -> std::io::Result<String> {
        let mut reply = String::new();
        loop {
            let begin = reply.len();
            if self.reader.read_line(&mut reply)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let line = reply[begin..].trim_end().to_owned();
            reply.truncate(begin);
            reply.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(reply);
            }
            reply.push('\n');
        }
    }

    /// A command and its reply.
    pub fn say(&mut self, command: &str) -> std::io::Result<String> {
        self.write(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    /// Hands in one small mail over a connection of its own and gives the last reply, or the refusal
    /// of MAIL.
    pub fn submit(address: SocketAddr, to: &[&str], subject: &str) -> String {
        let mut client = Self::hello(address).unwrap();
        let reply = client.say("MAIL FROM:<erp@contoso.com>").unwrap();
        if !reply.starts_with("250") {
            return reply;
        }
        for to in to {
            let reply = client.say(&format!("RCPT TO:<{to}>")).unwrap();
            assert!(reply.starts_with("250"), "{to}: {reply}");
        }
        client.say("DATA").unwrap();
        client.write(&super::mails::plain(subject)).unwrap();
        client.write(b".\r\n").unwrap();
        client.reply().unwrap()
    }

    /// A whole mail; the body must be dot-stuffed and end in CRLF. Gives the last reply.
    pub fn mail(&mut self, from: &str, to: &str, body: &str) -> std::io::Result<String> {
        for command in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"), "DATA".into()] {
            let reply = self.say(&command)?;
            if reply.starts_with(['4', '5']) {
                return Ok(reply);
            }
        }
        self.write(format!("{body}.\r\n").as_bytes())?;
        self.reply()
    }
}

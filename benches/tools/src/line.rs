//! Reading SMTP off a stream: lines, and the end of a message, with no copy that is not needed.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What was read and not yet taken.
pub struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub fn new() -> Self {
        Self { buffer: vec![0; 16 * 1024], start: 0, end: 0 }
    }

    /// Whether all that was read has been taken.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    async fn more(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                return Err(io::Error::other("line too long"));
            }
        }
        match stream.read(&mut self.buffer[self.end..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }

    /// The next line, its end cut off.
    pub async fn line(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<&[u8]> {
        let mut seen = 0;
        loop {
            let ready = &self.buffer[self.start + seen..self.end];
            if let Some(at) = memchr::memchr(b'\n', ready) {
                let (from, to) = (self.start, self.start + seen + at);
                self.start = to + 1;
                let line = &self.buffer[from..to];
                return Ok(line.strip_suffix(b"\r").unwrap_or(line));
            }
            seen = self.end - self.start;
            self.more(stream).await?;
        }
    }

    /// The code of the next reply, all its lines read.
    pub async fn reply(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<u16> {
        loop {
            let line = self.line(stream).await?;
            let code = line.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
            let Some(code) = code else { return Err(io::Error::other("no reply")) };
            if line.get(3) != Some(&b'-') {
                return Ok(code);
            }
        }
    }

    /// Drops everything up to the line that is a dot; how many octets that were.
    pub async fn message(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<u64> {
        const END: &[u8] = b"\r\n.\r\n";
        let mut octets = 0;
        // The line before the first octet of the message has ended.
        let mut is_begin = true;
        loop {
            let ready = &self.buffer[self.start..self.end];
            if is_begin && ready.len() >= 3 {
                if ready.starts_with(b".\r\n") {
                    self.start += 3;
                    return Ok(octets);
                }
                is_begin = false;
            }
            if let Some(at) = memchr::memmem::find(ready, END) {
                self.start += at + END.len();
                return Ok(octets + at as u64 + 2);
            }
            let keep = if is_begin { ready.len() } else { ready.len().min(END.len() - 1) };
            octets += (ready.len() - keep) as u64;
            self.start = self.end - keep;
            self.more(stream).await?;
        }
    }

    /// Drops so many octets.
    pub async fn skip(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        mut count: usize,
    ) -> io::Result<()> {
        loop {
            let taken = count.min(self.end - self.start);
            self.start += taken;
            count -= taken;
            if count == 0 {
                return Ok(());
            }
            self.more(stream).await?;
        }
    }
}

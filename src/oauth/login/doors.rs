//! Where the browser comes back: one port on this machine, open for one answer (RFC 8252 §7.3).
//!
//! It promises that only GET on the exact path, under the name the browser was sent to, is passed on: a
//! page elsewhere can neither post here nor reach us under a name of its own (DNS rebinding). On IPv4 and
//! IPv6, because browsers take `localhost` for either. It judges no answer, and closes when it is dropped.

use super::page;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

/// Tries to find a port that is free on both loopbacks.
const TRIES: usize = 20;

/// The open port.
#[derive(Debug)]
pub struct Doors {
    /// The redirect URI with the port filled in.
    pub redirect: String,
    callers: mpsc::Receiver<Caller>,
    stop: CancellationToken,
    serving: Vec<tokio::task::JoinHandle<()>>,
}

/// A browser that came back and waits for its page.
#[derive(Debug)]
pub struct Caller {
    /// The query it brought.
    pub query: String,
    answer: oneshot::Sender<(u16, String)>,
}

impl Caller {
    /// Gives it a page.
    pub fn answer(self, status: u16, heading: &str, text: &str) {
        // A browser that has gone needs none.
        let _ = self.answer.send((status, page::write(heading, text)));
    }
}

/// What every request is held against.
struct Door {
    path: String,
    /// `Host` must be one of these.
    names: Vec<String>,
    callers: mpsc::Sender<Caller>,
}

impl Doors {
    /// Opens the port of `redirect`, any free one where it names none.
    ///
    /// # Errors
    /// The port is taken; `InvalidInput` where `redirect` is no address of this machine.
    pub async fn open(redirect: &str) -> io::Result<Self> {
        let no_loopback = || io::Error::from(io::ErrorKind::InvalidInput);
        let url = Url::parse(redirect).map_err(|_| no_loopback())?;
        let hosts = loopbacks(&url).ok_or_else(no_loopback)?;
        let listeners = listen(hosts, port_of(redirect)).await?;
        let port = listeners.first().ok_or_else(no_loopback)?.local_addr()?.port();
        let (callers, heard) = mpsc::channel(4);
        let host = url.host_str().unwrap_or_default();
        let door = Arc::new(Door {
            path: url.path().to_owned(),
            names: [host, "localhost", "127.0.0.1", "[::1]"]
                .map(|name| format!("{name}:{port}"))
                .to_vec(),
            callers,
        });
        let stop = CancellationToken::new();
        let serve = |listener: TcpListener| {
            let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&door));
            let serving = axum::serve(listener, router);
            let serving = serving.with_graceful_shutdown(stop.clone().cancelled_owned());
            tokio::spawn(async move {
                let _ = serving.await;
            })
        };
        let serving = listeners.into_iter().map(serve).collect();
        Ok(Self { redirect: with_port(redirect, port), callers: heard, stop, serving })
    }

    /// The next browser that comes back.
    pub async fn next(&mut self) -> Option<Caller> {
        self.callers.recv().await
    }

    /// Closes the port after the last page is written.
    pub async fn close(mut self) {
        self.stop.cancel();
        for task in std::mem::take(&mut self.serving) {
            // A browser that holds its connection open must not hold us.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(2), task).await;
        }
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.stop.cancel();
        self.serving.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Whether the browser can come back to this machine by itself.
pub fn is_loopback(redirect: &str) -> bool {
    Url::parse(redirect).is_ok_and(|url| url.scheme() == "http" && loopbacks(&url).is_some())
}

/// Where to listen for this host; none where it is another machine.
fn loopbacks(url: &Url) -> Option<Vec<IpAddr>> {
    match url.host()? {
        Host::Domain("localhost") => {
            Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
        }
        Host::Ipv4(ip) if ip.is_loopback() => Some(vec![ip.into()]),
        Host::Ipv6(ip) if ip.is_loopback() => Some(vec![ip.into()]),
        _ => None,
    }
}

/// One port on all of them. A machine without IPv6 has one listener fewer.
async fn listen(hosts: Vec<IpAddr>, port: Option<u16>) -> io::Result<Vec<TcpListener>> {
    let mut failed = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let mut listeners: Vec<TcpListener> = Vec::new();
        let mut taken = false;
        for host in &hosts {
            let found = listeners.first().map(TcpListener::local_addr).transpose()?;
            let port = port.or(found.map(|address| address.port())).unwrap_or(0);
            match TcpListener::bind(SocketAddr::new(*host, port)).await {
                Ok(listener) => listeners.push(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    taken = true;
                    failed = error;
                }
                Err(error) if listeners.is_empty() && hosts.len() == 1 => return Err(error),
                Err(error) => failed = error,
            }
        }
        if !taken && !listeners.is_empty() {
            return Ok(listeners);
        }
        if port.is_some() {
            break;
        }
    }
    Err(failed)
}

/// The text as it is registered, with the port put in: `http://localhost` has no slash at its end, and
/// providers compare octets.
pub fn with_port(redirect: &str, port: u16) -> String {
    if port_of(redirect).is_some() {
        return redirect.to_owned();
    }
    let end = authority(redirect).1;
    format!("{}:{port}{}", &redirect[..end], &redirect[end..])
}

/// The port that is written, also where it is the usual one.
fn port_of(redirect: &str) -> Option<u16> {
    let (begin, end) = authority(redirect);
    redirect[begin..end].rsplit_once(':')?.1.parse().ok()
}

/// Where host and port stand in it.
fn authority(redirect: &str) -> (usize, usize) {
    let begin = redirect.find("://").map_or(0, |at| at + 3);
    let end = redirect[begin..].find(['/', '?']).map_or(redirect.len(), |at| begin + at);
    (begin, end)
}

async fn answer(State(door): State<Arc<Door>>, request: Request) -> Response {
    let (status, body) = match judge(&door, &request) {
        Err((status, heading, text)) => (status, page::write(heading, text)),
        Ok(query) => pass_on(&door, query).await,
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = response.headers_mut();
    for (name, value) in page::headers() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if status == 405 {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

type Refusal = (u16, &'static str, &'static str);

/// The query of a request that may be an answer.
fn judge(door: &Door, request: &Request) -> Result<String, Refusal> {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let is_ours =
        host.is_some_and(|host| door.names.iter().any(|name| name.eq_ignore_ascii_case(host)));
    if !is_ours {
        return Err((421, "Not here", "This address is not known under that name."));
    }
    if request.method() != Method::GET {
        return Err((
            405,
            "Not so",
            "Only a browser that comes back from a sign-in is awaited here.",
        ));
    }
    if request.uri().path() != door.path {
        return Err((
            404,
            "Not here",
            "Only a browser that comes back from a sign-in is awaited here.",
        ));
    }
    Ok(request.uri().query().unwrap_or_default().to_owned())
}

async fn pass_on(door: &Door, query: String) -> (u16, String) {
    let (answer, page) = oneshot::channel();
    let over = || (410, page::write("It is over", "This sign-in has ended. Begin another one."));
    if door.callers.send(Caller { query, answer }).await.is_err() {
        return over();
    }
    page.await.unwrap_or_else(|_| over())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(port: u16, ip: IpAddr, request: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect((ip, port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn port(doors: &Doors) -> u16 {
        Url::parse(&doors.redirect).unwrap().port().unwrap()
    }

    #[tokio::test]
    async fn a25_only_get_on_the_path_under_our_own_name_is_passed_on() {
        let mut doors = Doors::open("http://localhost/back").await.unwrap();
        let port = port(&doors);
        for (request, status) in [
            (format!("GET /back?code=c HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n"), "421"),
            (format!("GET /back?code=c HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", port ^ 1), "421"),
            ("GET /back?code=c HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "421"),
            ("GET /back?code=c HTTP/1.0\r\n\r\n".to_owned(), "421"),
            (
                format!(
                    "POST /back?code=c HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\n\r\n"
                ),
                "405",
            ),
            (format!("HEAD /back?code=c HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"), "405"),
            (format!("GET /Back?code=c HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"), "404"),
            (format!("GET /favicon.ico HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"), "404"),
        ] {
            let answer = ask(port, Ipv4Addr::LOCALHOST.into(), &request).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}"))
                    || answer.starts_with(&format!("HTTP/1.0 {status}")),
                "{request}: {answer}"
            );
            assert!(answer.contains("content-security-policy: default-src 'none'"), "{answer}");
            assert!(answer.contains("cache-control: no-store"), "{answer}");
        }
        assert!(doors.callers.try_recv().is_err(), "nothing was passed on");
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let request = format!("GET /back?code=c HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
            let asking = tokio::spawn(async move { ask(port, ip, &request).await });
            let caller = doors.next().await.unwrap();
            assert_eq!(caller.query, "code=c");
            caller.answer(200, "Well", "<b>");
            assert!(asking.await.unwrap().contains("&lt;b&gt;"));
        }
        doors.close().await;
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err(), "closed");
    }

    #[tokio::test]
    async fn a_port_that_is_named_is_the_one() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let redirect = format!("http://127.0.0.1:{port}/");
        assert_eq!(Doors::open(&redirect).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(free);
        assert_eq!(Doors::open(&redirect).await.unwrap().redirect, redirect);
    }

    #[test]
    fn ports_are_put_into_the_text_as_it_is_registered() {
        for (redirect, expected) in [
            ("http://localhost", "http://localhost:7"),
            ("http://localhost/", "http://localhost:7/"),
            ("http://localhost/a?b", "http://localhost:7/a?b"),
            ("http://localhost:80/", "http://localhost:80/"),
            ("http://localhost:8400/x", "http://localhost:8400/x"),
            ("http://[::1]/x", "http://[::1]:7/x"),
        ] {
            assert_eq!(with_port(redirect, 7), expected, "{redirect}");
        }
        for (redirect, expected) in [
            ("http://localhost", true),
            ("http://127.0.0.1/x", true),
            ("https://localhost/x", false),
            ("https://login.microsoftonline.com/common/oauth2/nativeclient", false),
            ("no url", false),
        ] {
            assert_eq!(is_loopback(redirect), expected, "{redirect}");
        }
    }
}

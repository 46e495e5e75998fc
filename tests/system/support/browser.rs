//! Browsers: a real one without a window, and one that is only a client of HTTP.

use super::world::RUNTIME;
use reqwest::header::{HeaderMap, LOCATION};
use std::process::Command;

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools/venv/bin/python");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/support/browser.py");

/// Where a browser ended and what it shows.
#[derive(Debug)]
pub struct Ended {
    pub url: String,
    pub text: String,
}

/// A real Chromium does these steps, where a name is an id, the name of a field or a class: `["open", url]`,
/// `["fill", name, text]`, `["press", name]`, `["await", text]`,
/// `["end", part of the address]`.
pub fn chromium(steps: &[&[&str]]) -> Ended {
    let output = Command::new(PYTHON)
        .arg(SCRIPT)
        .arg(serde_json::to_string(steps).unwrap())
        .output()
        .unwrap_or_else(|error| panic!("{PYTHON}: {error}; run scripts/install-test-tools"));
    assert!(
        output.status.success(),
        "the browser failed (is it there? scripts/install-test-tools):\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let field = |name: &str| seen[name].as_str().unwrap_or_default().to_owned();
    Ended { url: field("url"), text: field("text") }
}

/// An answer of HTTP.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Page {
    /// Where the browser is sent.
    pub fn location(&self) -> String {
        let location =
            self.headers.get(LOCATION).unwrap_or_else(|| panic!("no redirect: {self:?}"));
        location.to_str().unwrap().to_owned()
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

fn page(request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> Page {
    RUNTIME.block_on(async {
        let answer = request(&client()).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Page { status, headers, body: answer.text().await.unwrap() }
    })
}

/// Visits an address; redirects are not followed.
pub fn visit(url: &str) -> Page {
    page(|client| client.get(url))
}

/// Visits with another method, or under another name.
pub fn visit_as(method: &str, url: &str, host: Option<&str>) -> Page {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    page(|client| match host {
        Some(host) => client.request(method, url).header("host", host),
        None => client.request(method, url),
    })
}

/// Sends a form.
pub fn post(url: &str, fields: &[(&str, &str)]) -> Page {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    page(|client| {
        client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body)
    })
}

/// On the sandbox's page somebody accepts or cancels; where the browser is sent then.
pub fn decide(address: &str, user: &str, decision: &str) -> Page {
    let shown = visit(address);
    assert_eq!(shown.status, 200, "{}", shown.body);
    let url = url::Url::parse(address).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut fields: Vec<(&str, &str)> =
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.extend([("user", user), ("decision", decision)]);
    let page = address.split('?').next().unwrap();
    post(page, &fields)
}

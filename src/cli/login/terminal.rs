//! Where the person sits: is there a screen, is it another machine's, what is typed.

use std::io::{BufRead, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use tokio::sync::mpsc;
use url::Url;

/// What can be reached of the person.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// Programs with windows can be started.
    pub has_screen: bool,
    /// Somebody came over the network.
    pub is_remote: bool,
    /// Somebody can type.
    pub is_terminal: bool,
    /// No browser is to run as root.
    pub is_root: bool,
}

impl Reach {
    /// As the environment says.
    pub fn look() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            has_screen: is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"),
            is_remote: is_set("SSH_CONNECTION"),
            is_terminal: std::io::stdin().is_terminal(),
            is_root: std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0),
        }
    }
}

/// What is typed or piped, line by line; nothing ever where `is_read` is not.
pub(super) fn lines(is_read: bool) -> mpsc::Receiver<String> {
    let (lines, typed) = mpsc::channel(4);
    if is_read {
        // A thread of its own, since reading a terminal cannot be broken off; it ends with the process.
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if !line.trim().is_empty() && lines.blocking_send(line).is_err() {
                    return;
                }
            }
        });
    }
    typed
}

/// Opens the desktop's browser; whether that was begun.
pub(super) fn open(url: &Url) -> bool {
    let mut browser = Command::new("xdg-open");
    browser.arg(url.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    browser.spawn().is_ok()
}

//! `submitd login`: a person signs in for an account.
//!
//! It promises that a sign-in which fails changes nothing, and that one which went well is on the disk
//! before it says so: through the daemon where one runs, else straight into the state directory.

mod keeping;
mod terminal;

use super::control::surroundings;
use super::exit;
use crate::check::setup;
use crate::config::{Account, Config, SignInBy};
use crate::oauth::login::{Login, LoginError, Shown, is_loopback};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

pub(super) use keeping::local_keeper;

/// What `login` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The account, by its name in the configuration.
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// Sign in in a browser on this machine, which comes back by itself.
    #[arg(long, conflicts_with_all = ["device", "paste"])]
    browser: bool,
    /// Show a code that is typed into any browser anywhere.
    #[arg(long, conflicts_with = "paste")]
    device: bool,
    /// Sign in in a browser anywhere and paste the address at which it ended.
    #[arg(long)]
    paste: bool,
    /// Print what must be set up at the provider, ready to paste, and ask nobody.
    #[arg(long, conflicts_with_all = ["browser", "device", "paste"])]
    setup: bool,
    /// Only show the address; open no browser.
    #[arg(long)]
    no_open: bool,
    /// How long to wait for the browser.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Browser,
    Device,
    Paste,
}

/// 0 where somebody signed in and it is kept, 1 where not, 64 for a name that is none, 78 for the
/// configuration.
pub fn run(file: Option<&Path>, args: Args) -> ExitCode {
    let config = match super::load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let account = match find(&config, &args.account) {
        Ok(account) => account,
        Err(text) => return exit::fail(exit::USAGE, text),
    };
    if args.setup {
        println!("{}", setup::text(&account, None));
        return ExitCode::SUCCESS;
    }
    let Some(login) = Login::new(&account) else {
        let text = format!(
            "nobody signs in for account {:?}: its grant is neither \"authorization_code\" nor \"device_code\"",
            account.name
        );
        return exit::fail(exit::USAGE, text);
    };
    let glance = match surroundings(file) {
        Ok(glance) => glance,
        Err(error) => return exit::fail(error.code(), error),
    };
    super::with_runtime(async move {
        let keeping = keeping::Keeping { config: &config, account: &account, glance: &glance };
        match sign_in(&login, &account, &args, keeping).await {
            Ok(words) => {
                println!("{words}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                let remedy = error.remedy(&account);
                let code = exit::fail(exit::FAILED, &error);
                if let Some(remedy) = remedy {
                    eprintln!("remedy: {remedy}");
                }
                if error.is_administrators() {
                    eprintln!("what is to be set up there: submitd login {} --setup", account.name);
                }
                code
            }
        }
    })
}

/// The account of this name.
pub(super) fn find(config: &Config, name: &str) -> Result<Arc<Account>, String> {
    let found = config.accounts.iter().find(|account| account.name == name);
    found.cloned().ok_or_else(|| {
        let names: Vec<_> = config.accounts.iter().map(|account| account.name.as_str()).collect();
        format!("there is no account {name:?}; there is {}", names.join(", "))
    })
}

async fn sign_in(
    login: &Login,
    account: &Account,
    args: &Args,
    keeping: keeping::Keeping<'_>,
) -> Result<String, LoginError> {
    let Some(sign_in) = login.sign_in() else { return Err(LoginError::Declined) };
    let asked =
        [(args.browser, Way::Browser), (args.device, Way::Device), (args.paste, Way::Paste)];
    let asked = asked.into_iter().find(|(is, _)| *is).map(|(_, way)| way);
    let reach = terminal::Reach::look();
    let way = asked.unwrap_or_else(|| choose(sign_in.by, &sign_in.redirect_uri, reach));
    println!("account {:?}: sign in as {}", account.name, sign_in.username);
    let keep = async |signed| keeping.keep(signed).await;
    if way == Way::Device {
        return login.by_device(|shown| tell(&shown, None), keep).await;
    }
    let is_awaited = way == Way::Browser && is_loopback(&sign_in.redirect_uri);
    let may_open = !args.no_open && reach.has_screen && !reach.is_root;
    // While the browser is awaited the terminal is only a second way in; a pipe that ends is none.
    let pasted = terminal::lines(!is_awaited || reach.is_terminal);
    let show = |shown: Shown<'_>| tell(&shown, Some((is_awaited, may_open)));
    login.by_browser(is_awaited, args.wait, pasted, show, keep).await
}

/// The way that fits where nobody names one.
fn choose(by: SignInBy, redirect_uri: &str, reach: terminal::Reach) -> Way {
    match by {
        SignInBy::Device => Way::Device,
        SignInBy::Browser if !is_loopback(redirect_uri) => Way::Paste,
        // The browser is on the machine from which somebody came, and cannot come back to this one.
        SignInBy::Browser if reach.is_remote && !reach.has_screen => Way::Paste,
        SignInBy::Browser => Way::Browser,
    }
}

fn tell(shown: &Shown<'_>, browser: Option<(bool, bool)>) {
    match shown {
        Shown::Address(url) => {
            let (is_awaited, may_open) = browser.unwrap_or_default();
            let is_open = may_open && terminal::open(url);
            let opened = if is_open { " (it was opened there)" } else { "" };
            println!("Open this address in a browser{opened}:\n\n  {url}\n");
            match is_awaited {
                true => println!(
                    "Waiting for the browser to come back. Where it cannot, paste here the address at which it ended."
                ),
                false => println!(
                    "Paste here the address at which the browser ended, also of a page that did not load:"
                ),
            }
        }
        Shown::Device(device) => {
            println!(
                "Open {} in a browser, anywhere, and enter the code\n",
                device.verification_uri
            );
            println!("  {}\n", device.user_code);
            if let Some(complete) = &device.verification_uri_complete {
                println!("or open {complete}");
            }
            let minutes = device.life.as_secs() / 60;
            println!("Waiting; the code is good for {minutes} minutes.");
        }
        Shown::Unfit(words) => println!("That was not it: {words}. Still waiting."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use terminal::Reach;

    #[test]
    fn the_way_that_fits() {
        let here = Reach { has_screen: true, is_remote: false, is_terminal: true, is_root: false };
        let far = Reach { has_screen: false, is_remote: true, ..here };
        let console = Reach { has_screen: false, ..here };
        let native = "https://login.microsoftonline.com/common/oauth2/nativeclient";
        for (by, redirect, reach, way) in [
            (SignInBy::Device, "http://localhost", here, Way::Device),
            (SignInBy::Browser, "http://localhost", here, Way::Browser),
            (SignInBy::Browser, "http://localhost", console, Way::Browser),
            (SignInBy::Browser, "http://localhost", far, Way::Paste),
            (
                SignInBy::Browser,
                "http://localhost",
                Reach { has_screen: true, ..far },
                Way::Browser,
            ),
            (SignInBy::Browser, native, here, Way::Paste),
        ] {
            assert_eq!(choose(by, redirect, reach), way, "{by:?} {redirect} {reach:?}");
        }
    }
}

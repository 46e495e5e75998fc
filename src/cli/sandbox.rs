//! `submitd sandbox`: a simulated Exchange Online, Microsoft Graph and Entra ID, to try programs and configurations without
//! a tenant. It prints where everything is and the account that goes into submitd's configuration.

use super::exit;
use crate::mail::Address;
use crate::sandbox::{Faults, Limits, Mailbox, Options, Sandbox};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Simulate Exchange Online, Microsoft Graph and Entra ID on this machine.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where the mail server listens (port 0: a free one)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1587")]
    pub smtp: SocketAddr,
    /// Where token endpoint, Microsoft Graph and control page listen (port 0: a free one)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8587")]
    pub web: SocketAddr,
    /// Write each mail into this directory, as 000001.eml and 000001.json
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// A mailbox that can be sent through; may be repeated; erp@contoso.com where none is named
    #[arg(long = "mailbox", value_name = "ADDR")]
    pub mailboxes: Vec<Address>,
    /// Let each mailbox send as anybody; Exchange refuses a foreign From
    #[arg(long)]
    pub send_as_anyone: bool,
    /// Let something go wrong, such as smtp.no_starttls=true, token.error=AADSTS7000222,
    /// graph.answers.send_mail=503, smtp.auth=tenant_disabled or
    /// "smtp.replies.mail=451 4.7.500 Server busy"; /sandbox/faults shows all names
    #[arg(long = "fault", value_name = "NAME=VALUE")]
    pub faults: Vec<String>,
    /// Lift the limits on connections, requests at once, mails a minute and recipients a day
    #[arg(long)]
    pub unlimited: bool,
}

/// Runs until Ctrl-C or SIGTERM. Exit code 64 where the arguments are wrong, 1 where it cannot start.
pub async fn run(args: Args) -> ExitCode {
    let mut faults = Faults::default();
    for assignment in &args.faults {
        if let Err(error) = faults.set(assignment) {
            return exit::fail(exit::USAGE, format!("--fault {error}"));
        }
    }
    // Before anything is printed: a signal that comes early must end us properly too.
    let ended = match end() {
        Ok(ended) => ended,
        Err(error) => {
            return exit::fail(exit::FAILED, format!("cannot wait for signals: {error}"));
        }
    };
    let loopback = args.smtp.ip().is_loopback() && args.web.ip().is_loopback();
    let options = options(args, faults);
    let sandbox = match Sandbox::start(options).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            return exit::fail(exit::FAILED, error);
        }
    };
    if !loopback {
        eprintln!(
            "submitd: the sandbox can be reached from other machines, and its secrets are public"
        );
    }
    print!("{}", welcome(&sandbox));
    ended.await;
    sandbox.stop().await;
    ExitCode::SUCCESS
}

fn options(args: Args, faults: Faults) -> Options {
    let mut options =
        Options { smtp: args.smtp, web: args.web, dir: args.dir, faults, ..Options::default() };
    if !args.mailboxes.is_empty() {
        options.mailboxes =
            args.mailboxes.iter().map(|address| Mailbox::new(address.as_str())).collect();
    }
    if args.send_as_anyone {
        options.mailboxes.iter_mut().for_each(|mailbox| mailbox.send_as = vec!["*".into()]);
    }
    if args.unlimited {
        options.limits = Limits::NONE;
    }
    options
}

/// What is printed at start: everything behind `#`, so that the whole of it is a configuration.
fn welcome(sandbox: &Sandbox) -> String {
    format!(
        "# Simulated Exchange Online: {} (STARTTLS, AUTH XOAUTH2)\n\
         # Simulated Entra ID:        {}\n\
         # Simulated Microsoft Graph: {}\n\
         # Mails, counters, faults:   {}/sandbox\n\
         # Put this into submitd.toml, then: submitd check --config submitd.toml\n\
         # Ctrl-C ends the sandbox.\n\n{}\n\
         # The same by Microsoft Graph: transport = \"graph\" in [[account]], and\n\
         # [account.graph]\n# url = \"{}\"\n",
        sandbox.smtp_addr(),
        sandbox.token_url(),
        sandbox.graph_url(),
        sandbox.web_url(),
        sandbox.account_toml(),
        sandbox.graph_url(),
    )
}

/// Resolves at Ctrl-C or, on Unix, SIGTERM.
fn end() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[tokio::test]
    async fn what_is_printed_is_a_configuration() {
        let line =
            ["x", "--smtp", "127.0.0.1:0", "--web", "127.0.0.1:0", "--mailbox", "a@x.example"];
        let options = options(Line::parse_from(line).args, Faults::default());
        let sandbox = Sandbox::start(options).await.expect("sandbox");
        let table: toml::Table = welcome(&sandbox).parse().expect("TOML");
        let account = &table["account"][0];
        assert_eq!(account["mailbox"].as_str(), Some("a@x.example"));
        assert_eq!(
            account["upstream"]["port"].as_integer(),
            Some(sandbox.smtp_addr().port().into())
        );
        assert_eq!(account["oauth"]["token_url"].as_str(), Some(sandbox.token_url().as_str()));
        let file = account["upstream"]["ca_file"].as_str().expect("file");
        assert_eq!(std::fs::read_to_string(file).expect("readable"), sandbox.ca_pem());
    }

    #[test]
    fn mailboxes_and_their_freedom() {
        let line = ["x", "--mailbox", "a@x", "--mailbox", "b@x", "--send-as-anyone", "--unlimited"];
        let options = options(Line::parse_from(line).args, Faults::default());
        assert_eq!(options.mailboxes.len(), 2);
        assert!(options.mailboxes.iter().all(|mailbox| mailbox.send_as == ["*"]));
        assert_eq!(options.limits, Limits::NONE);
        assert!(Line::try_parse_from(["x", "--mailbox", "a b"]).is_err());
    }

    #[tokio::test]
    async fn wrong_faults_are_told() {
        let args =
            Line::parse_from(["x", "--web", "127.0.0.1:0", "--fault", "smtp.nonsense=1"]).args;
        assert_eq!(run(args).await, ExitCode::from(exit::USAGE));
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_told() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = taken.local_addr().expect("address").to_string();
        let args = Line::parse_from(["x", "--smtp", &address, "--web", "127.0.0.1:0"]).args;
        assert_eq!(run(args).await, ExitCode::FAILURE);
    }
}

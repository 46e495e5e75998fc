//! `submitd demo`: sandbox and daemon together, one mail sent through and its journey shown.
//!
//! It needs no tenant, no configuration and no network beyond loopback. Everything it makes (certificate
//! authority, state, mail) lies in a directory that goes when it ends.

use super::{exit, send};
use crate::app::App;
use crate::config::Config;
use crate::mail::Address;
use crate::observe::log;
use crate::sandbox::{Options, Sandbox};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What `demo` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End after the mail instead of staying up.
    #[arg(long)]
    once: bool,
    /// Show the daemon's log too.
    #[arg(long)]
    verbose: bool,
}

/// The ports people will try first; free ones are taken where these are not.
const DAEMON: u16 = 2525;
const EXCHANGE: u16 = 2587;
const WEB: u16 = 2580;
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// How long the mail may take; normally it is there in a blink.
const PATIENCE: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error>;

/// Shows the main job working. 0 when the mail arrived, 1 when it did not.
pub async fn run(args: Args) -> ExitCode {
    match show(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::fail(exit::FAILED, error),
    }
}

async fn show(args: &Args) -> Result<(), Failure> {
    log::start(log::Shape::Auto, if args.verbose { "info" } else { "error" })?;
    let dir = tempfile::Builder::new().prefix("submitd-demo-").tempdir()?;
    let sandbox = sandbox().await?;
    let app = start(dir.path(), &sandbox).await?;
    let door = app.addresses().first().copied().ok_or("the daemon does not listen")?;
    println!(
        "submitd demo: a small Exchange Online and Entra ID on loopback, and submitd before it.\n"
    );
    println!("  submitd listens on        {door}   (plain SMTP, no password needed)");
    println!("  sandbox Exchange Online   {}   (STARTTLS, XOAUTH2 only)", sandbox.smtp_addr());
    println!("  sandbox Entra ID          {}", sandbox.token_url());
    journey(door, &sandbox).await?;
    if !args.once {
        invite(door, &sandbox);
        wait_for_end().await?;
    }
    app.stop().await;
    sandbox.stop().await;
    Ok(())
}

/// On its usual ports where they are free, also where somebody takes one in this very moment.
async fn sandbox() -> Result<Sandbox, Failure> {
    let options = |smtp, web| Options { smtp, web, ..Options::default() };
    match Sandbox::start(options(free(EXCHANGE), free(WEB))).await {
        Ok(sandbox) => Ok(sandbox),
        Err(_) => Ok(Sandbox::start(options(ANY, ANY)).await?),
    }
}

/// The daemon on its usual port, or another.
async fn start(dir: &Path, sandbox: &Sandbox) -> Result<App, Failure> {
    match start_at(free(DAEMON), dir, sandbox).await {
        Ok(app) => Ok(app),
        Err(_) => start_at(ANY, dir, sandbox).await,
    }
}

/// The daemon as an administrator would configure it, but for the directory and the ports.
async fn start_at(door: SocketAddr, dir: &Path, sandbox: &Sandbox) -> Result<App, Failure> {
    let text = format!(
        "state_dir = {state:?}\nhostname = \"localhost\"\n\
         [[listener]]\naddress = \"{door}\"\n{account}",
        state = dir.join("state").display().to_string(),
        account = sandbox.account_toml(),
    );
    let config = Config::from_text("demo.toml", &text, &[])?;
    Ok(App::start(config, Vec::new()).await?)
}

/// Sends one mail and tells its way.
async fn journey(door: SocketAddr, sandbox: &Sandbox) -> Result<(), Failure> {
    let from: Address = "erp@contoso.com".parse()?;
    let to: Address = "ann@example.org".parse()?;
    let message = send::compose(
        &from,
        std::slice::from_ref(&to),
        "Invoice 4711",
        "Sent by a program that knows nothing of OAuth.",
    )?;
    println!("\nThe journey of one mail, from {from} to {to}:\n");
    let begun = Instant::now();
    let submitted =
        tokio::task::spawn_blocking(move || send::submit(door, &from, &[to], &message)).await??;
    // The last word of `2.0.0 queued as ID`.
    let id = submitted.rsplit(' ').next().unwrap_or(&submitted);
    step(begun, "accepted", "by submitd, durable on disk before the 250");
    step(begun, "queued as", id);
    tokio::time::timeout(PATIENCE, sandbox.wait_for_messages(1))
        .await
        .map_err(|_| "the mail did not arrive; run with --verbose to see why")?;
    let seen = sandbox.statistics();
    step(begun, "token", &format!("asked for {}, kept and renewed", times(seen.token_requests)));
    step(begun, "delivered", "over verified STARTTLS with AUTH XOAUTH2");
    step(begun, "read it at", &format!("{}/sandbox/messages/1", sandbox.web_url()));
    Ok(())
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn step(begun: Instant, what: &str, how: &str) {
    println!("  {:>6.1} ms  {what:<12}{how}", begun.elapsed().as_secs_f64() * 1_000.0);
}

fn invite(door: SocketAddr, sandbox: &Sandbox) {
    let web = sandbox.web_url();
    println!(
        "\nNow yours. Paste one of these:\n\n  \
         swaks --server {door} --from erp@contoso.com --to you@example.org\n\n  \
         printf 'From: erp@contoso.com\\nSubject: hello\\n\\nhi\\n' | curl -sS smtp://{door} --crlf \\\n    \
         --mail-from erp@contoso.com --mail-rcpt you@example.org --upload-file -\n\n\
         and read what arrived:\n\n  curl -s {web}/sandbox/messages\n\n\
         The same in a browser: {web}/sandbox    Ctrl-C ends it."
    );
}

/// The wanted port on loopback, or any where it is taken.
fn free(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from(([127, 0, 0, 1], port));
    if TcpListener::bind(wanted).is_ok() { wanted } else { ANY }
}

async fn wait_for_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

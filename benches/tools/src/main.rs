//! What the benches need besides the subjects: a sink that takes mail as fast as it can, and a load.
//!
//! Both are independent of submitd's code, so that a mistake of ours does not measure itself.
//! `benches/run` starts them and reads what they print: one line of JSON each.

mod line;
mod load;
mod sink;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Takes mail over STARTTLS and XOAUTH2, gives tokens, counts.
    Sink(sink::Args),
    /// Sends mail and measures.
    Load(load::Args),
    /// Opens connections that only sit there until standard input ends.
    Idle(load::IdleArgs),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let verb = Command::parse().verb;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match verb {
            Verb::Sink(args) => sink::run(args).await,
            Verb::Load(args) => load::run(args).await,
            Verb::Idle(args) => load::idle(args).await,
        }
    })
}

//! The key of the stored tokens is exchanged, with nothing lost.

use crate::support::daemon::binary;
use crate::support::overheard::Heard;
use crate::support::world::World;
use std::process::{Command, Output};
use submitd::sandbox::Options;

const PUBLIC: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

fn config(world: &World) -> String {
    let options = Options::default();
    let secret = format!("client_secret = \"{}\"", options.client_secret.expose());
    let token = format!("refresh_token = \"{}\"", options.refresh_token.expose());
    let config = world.config(&World::listener("")).replace(&secret, &token);
    config.replace("client_credentials", "refresh_token").replace(&options.client_id, PUBLIC)
}

fn rotate(world: &World, words: &[&str], key: Option<&str>) -> Output {
    let mut command = Command::new(binary());
    command.args(["vault", "rotate", "--config"]).arg(world.path().join("submitd.toml"));
    command.args(words).envs(key.map(|key| ("SUBMITD_VAULT_KEY", key)));
    command.heard()
}

#[test]
fn the_key_is_exchanged_while_the_daemon_rests_and_the_token_that_came_back_still_serves() {
    let world = World::new();
    let config = config(&world);
    let mut daemon = world.start(&config).run();
    daemon.log.wait_for("token obtained");
    let refused = rotate(&world, &[], None);
    assert_eq!(refused.status.code(), Some(75));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&format!("submitd runs (process {})", daemon.child.id())), "{said}");
    assert!(daemon.stop().success());

    let file = |name: &str| std::fs::read(world.path().join("state").join(name)).unwrap();
    let (key, tokens) = (file("vault.key"), file("tokens"));
    let done = rotate(&world, &[], None);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(file("vault.key") != key && file("tokens") != tokens);
    // The sandbox takes each refresh token once: only the stored one still serves.
    let mut daemon = world.start(&config).run();
    daemon.log.wait_for("token obtained");
    assert!(!daemon.log.text().contains("cannot be read"), "{}", daemon.log.text());
    assert!(daemon.stop().success());

    // From the state directory to a key of the operator's.
    let own = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let old = world.path().join("state/vault.key");
    let done = rotate(&world, &["--old", &old.display().to_string()], Some(own));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let daemon = world.start(&config).with("SUBMITD_VAULT_KEY", own).run();
    daemon.log.wait_for("token obtained");
    assert!(!daemon.log.text().contains("cannot be read"), "{}", daemon.log.text());
}

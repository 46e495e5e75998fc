//! An instance of Postfix in a directory of its own: what it is made of whether it sends to us or takes mail of us.

use super::overheard::Trail;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const MAIN: &str = "\
compatibility_level = 3.6
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
meta_directory = /etc/postfix
sendmail_path = /usr/sbin/sendmail
newaliases_path = /usr/bin/newaliases
mailq_path = /usr/bin/mailq
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
alias_database =
message_size_limit = 52428800
mailbox_size_limit = 0
";

const MASTER: &str = "\
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
showq unix n - n - - showq
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
";

/// One; it is stopped when this is dropped.
pub struct Instance {
    _trail: Trail,
    dir: TempDir,
}

impl Instance {
    /// Its directory, for what it needs besides; nothing runs yet.
    pub fn new(prefix: &str) -> Self {
        let dir = TempDir::with_prefix(prefix).unwrap();
        let instance = Self { _trail: Trail::of(dir.path()), dir };
        // Its processes run as users of their own and must get through.
        std::fs::set_permissions(instance.path(), PermissionsExt::from_mode(0o755)).unwrap();
        instance.give("spool", "root");
        instance.give("data", "postfix");
        instance
    }

    /// Makes a directory of this user.
    pub fn give(&self, name: &str, owner: &str) {
        let path = self.path().join(name);
        std::fs::create_dir(&path).unwrap();
        good(Command::new("chown").arg(owner).arg(path));
    }

    /// Starts it with these keys of main.cf and these services besides what all have.
    pub fn start(&self, main: &str, services: &str) {
        let at = self.path().display();
        let main = format!(
            "{MAIN}queue_directory = {at}/spool\ndata_directory = {at}/data\n\
             maillog_file = {at}/log\nmaillog_file_prefixes = {at}\n{main}"
        );
        std::fs::write(self.path().join("main.cf"), main).unwrap();
        std::fs::write(self.path().join("master.cf"), format!("{MASTER}{services}")).unwrap();
        let started = self.control("start");
        assert!(started.status.success(), "no Postfix: {started:?}\n{}", self.log());
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    fn control(&self, word: &str) -> Output {
        output(Command::new("postfix").arg("-c").arg(self.path()).arg(word))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = Command::new("postfix").arg("-c").arg(self.path()).arg("abort").output();
    }
}

/// Runs a command to its end; a missing one is named.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("{:?}: {error}; run scripts/install-test-tools", command.get_program())
    })
}

fn good(command: &mut Command) {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {output:?}");
}

//! The compose files of `deploy/`, as far as they can be carried out without containers: their settings, the
//! commands in them, and the balancer.

use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::app::eventually;
use crate::cluster::{Outcome, publish, ready, start_at};
use crate::doctor::doctor;
use crate::process::{PROGRAM, quiet};
use crate::redis::{Disk, Redis, ask_all, free_port};

const ALONE: &str = include_str!("../../../deploy/compose.yaml");
const ONE: &str = include_str!("../../../deploy/one-redis.yaml");
const SENTINELS: &str = include_str!("../../../deploy/sentinels.yaml");
const MANAGED: &str = include_str!("../../../deploy/managed-redis.yaml");
const NGINX: &str = include_str!("../../../deploy/nginx.conf");
const DOCKERFILE: &str = include_str!("../../../Dockerfile");

/// Puts something in the place of each `${NAME:?}`.
fn filled(text: &str) -> String {
    let variable = regex_lite::Regex::new(r"\$\{[A-Z_]+:\?\}").unwrap();
    variable.replace_all(text, "something-that-is-long-enough").into_owned()
}

/// The settings of the servers of a compose file.
fn settings(compose: &str) -> Vec<(String, String)> {
    let lines: Vec<_> = compose.lines().filter(|line| line.contains("CHANNELSTREAM_")).collect();
    let settings = lines.iter().map(|line| {
        let (name, value) = line.trim().split_once(": ").unwrap();
        (name.to_owned(), filled(value.trim_matches('"')))
    });
    settings.collect()
}

/// The flags of a `redis-server` in a compose file, which may be a replica of a master at this port.
fn flags(compose: &str, is_replica: bool, master: u16) -> Vec<String> {
    let commands =
        compose.lines().filter_map(|line| line.trim().strip_prefix("command: redis-server "));
    let mut commands = commands.filter(|command| command.contains("--replicaof") == is_replica);
    let command = commands.next().unwrap().replace("redis-1 6379", &format!("127.0.0.1 {master}"));
    filled(&command).split(' ').map(str::to_owned).collect()
}

fn redis(flags: &[String]) -> Redis {
    Redis::start(Disk::None, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn all_settings_are_right() {
    let image: Vec<_> =
        DOCKERFILE.lines().filter_map(|line| line.strip_prefix("ENV CHANNELSTREAM_")).collect();
    assert_eq!(image, ["HOST=0.0.0.0"]);
    assert!(DOCKERFILE.contains("EXPOSE 8000") && NGINX.contains("http://$servers:8000;"));
    let volume = "/var/lib/channelstream";
    assert!(
        DOCKERFILE.contains(&format!("VOLUME {volume}\n"))
            && ALONE.contains(&format!(":{volume}\"]"))
    );
    assert!(ALONE.contains(&format!("JOURNAL_DIR: {volume}\n")));
    for compose in [ALONE, ONE, SENTINELS, MANAGED] {
        let mut command = Command::new(PROGRAM);
        let output = quiet(command.args(["config", "check"]), &["--host", "0.0.0.0"])
            .envs(settings(compose))
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(text, "ok\n", "{compose}");
    }
}

#[test]
fn one_redis_is_as_it_should_be() {
    let redis = redis(&flags(ONE, false, 0));
    let (_, url) = settings(ONE).into_iter().find(|(name, _)| name.ends_with("REDIS_URL")).unwrap();
    let url = url.replace("@redis", &format!("@127.0.0.1:{}", redis.port));
    doctor(&url, &[], &[]).is_good();
}

#[test]
fn sentinels_replace_a_master() {
    let mut master = redis(&flags(SENTINELS, false, 0));
    let replicas = [0, 1].map(|_| redis(&flags(SENTINELS, true, master.port)));
    let (_, script) = SENTINELS.split_once("      - |\n").unwrap();
    let (script, _) = script.split_once("  sentinel-2:").unwrap();
    let folders = [0, 1, 2].map(|_| TempDir::new().unwrap());
    let (mut sentinels, mut ports) = (Vec::new(), Vec::new());
    for folder in &folders {
        let port = free_port();
        let own = folder.path().display();
        let exec = "exec redis-server /tmp/sentinel.conf --sentinel";
        assert!(script.contains(exec), "{script}");
        let script = script
            .replace(exec, &format!("{exec} --port {port} --bind 127.0.0.1 --dir {own}"))
            .replace("/tmp/sentinel.conf", &format!("{own}/sentinel.conf"))
            .replace("redis-1 6379", &format!("127.0.0.1 {}", master.port));
        let child = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).spawn().unwrap();
        sentinels.push(Killed(child));
        ports.push(port);
    }
    let settings = settings(SENTINELS);
    let setting =
        |name: &str| settings.iter().find(|(found, _)| found.ends_with(name)).unwrap().1.clone();
    let addresses: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let url =
        setting("REDIS_URL").replace("sentinel-1,sentinel-2,sentinel-3", &addresses.join(","));
    let wanted = setting("REDIS_REPLICAS");
    let replicas_flag = ["--redis-replicas", &wanted];
    eventually("the replicas are there", || doctor(&url, &replicas_flag, &[]).code == Some(0));
    doctor(&url, &replicas_flag, &[]).has("replicas", "good", &["2 connected, redis_replicas = 1"]);
    let named = format!("{} names 127.0.0.1:{}", addresses[2], master.port);
    doctor(&url, &replicas_flag, &[]).has("sentinel", "good", &[&named]);
    let one_more = url.replace("/main", &format!(",127.0.0.1:{}/main", free_port()));
    doctor(&one_more, &replicas_flag, &[]).has("sentinel", "note", &["refused", "bring it up"]);
    let server = start_at(&url, &replicas_flag);
    ready(&server);
    assert_eq!(publish(server.address, "news", 1), Outcome::Done);
    eventually("the sentinels know each other and both replicas", || {
        ports.iter().all(|port| {
            let answer = ask_all(*port, &["SENTINEL", "MASTER", "main"]);
            answer.contains("num-other-sentinels\r\n$1\r\n2")
                && answer.contains("num-slaves\r\n$1\r\n2")
        })
    });
    master.kill();
    eventually("another master took over", || publish(server.address, "news", 2) == Outcome::Done);
    let is_master = |redis: &Redis| redis.ask_all(&["INFO", "replication"]).contains("role:master");
    assert!(replicas.iter().any(is_master));
}

/// A process that is killed when dropped.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It fails only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_balancer_passes_on_what_servers_need() {
    let server = crate::process::Process::start(&["--trusted-proxies", "127.0.0.1"]);
    let port = server.address.port();
    // Docker's name server is not here.
    let text = NGINX
        .replace("resolver 127.0.0.11 valid=5s;", "")
        .replace("set $servers push;", "set $servers 127.0.0.1;")
        .replace(
            "http://$servers:8000;",
            &format!("http://$servers:{port}; # http://127.0.0.1:8000"),
        );
    let nginx = crate::nginx::Nginx::before("", &text, "");
    let site = crate::app::Site(([127, 0, 0, 1], nginx.port).into());
    let connection = site.connect("ann", &["room"]);
    let mut socket = site.socket(&connection);
    site.publish("room", 7);
    assert_eq!(crate::app::numbers(&[socket.event()]), [7]);
    // The address that it leads to is that of the balancer.
    let answer = site.get("/admin");
    let location = answer.header("location").unwrap().to_owned();
    assert!(answer.status == 302 && location.contains("/admin/sign_in"), "{location}");
}

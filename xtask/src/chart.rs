//! The Helm chart: linted, rendered, held against the schemas of Kubernetes and against the server.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::tools;

pub(crate) const FOLDER: &str = "deploy/helm/channelstream";

/// Where the chart mounts its secrets and its volume.
const SECRETS: &str = "/run/secrets/channelstream/";
const VOLUME: &str = "/var/lib/channelstream/";

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let python = tools::prepare_packaging(shell)?;
    cmd!(shell, "cargo test --workspace --locked --no-run --quiet").run()?;
    let server = tools::build_folder()?.join("channelstream-server");
    ensure!(server.is_file(), "{} was not built", server.display());
    let text = cmd!(shell, "{python} xtask/chart.py {FOLDER}").quiet().read()?;
    let files: Value = serde_json::from_str(&text).context("the output of chart.py")?;
    let metrics = shell.read_file("docs/metrics.md")?;
    for (name, documents) in files.as_object().context("chart.py lists no files")? {
        check(name, documents, &metrics, &server).with_context(|| format!("{name}-values.yaml"))?;
    }
    Ok(())
}

fn check(name: &str, documents: &Value, metrics: &str, server: &Path) -> Result<()> {
    let all = |kind: &str| {
        let documents = documents.as_array().into_iter().flatten();
        documents.filter(|document| document["kind"] == kind).collect::<Vec<_>>()
    };
    let deployment = *all("Deployment").first().context("no Deployment")?;
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];

    // What serves, and what leads to it.
    let ports: Vec<&Value> = container["ports"].as_array().context("no ports")?.iter().collect();
    let names: BTreeSet<_> = ports.iter().filter_map(|port| port["name"].as_str()).collect();
    for service in all("Service") {
        let spec = &service["spec"];
        ensure!(spec["selector"] == deployment["spec"]["selector"]["matchLabels"], "{service}");
        let target = spec["ports"][0]["targetPort"].as_str().context("no targetPort")?;
        ensure!(names.contains(target), "no port is called {target}");
    }
    for monitor in all("ServiceMonitor") {
        let spec = &monitor["spec"];
        let wanted = spec["selector"]["matchLabels"].as_object().context("no selector")?;
        let services = all("Service");
        let found = services.iter().filter(|service| {
            let labels = &service["metadata"]["labels"];
            wanted.iter().all(|(label, value)| labels[label] == *value)
        });
        let found: Vec<_> = found.collect();
        ensure!(found.len() == 1, "{} services are monitored", found.len());
        let port = &found[0]["spec"]["ports"][0]["name"];
        ensure!(spec["endpoints"][0]["port"] == *port, "the monitor asks another port than {port}");
    }
    for scaler in all("HorizontalPodAutoscaler") {
        let metric = scaler["spec"]["metrics"][0]["pods"]["metric"]["name"].as_str();
        let metric =
            metric.and_then(|name| name.strip_prefix("channelstream_")).context("no metric")?;
        ensure!(metrics.contains(&format!("`{metric}`")), "docs/metrics.md has no {metric}");
    }
    let sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().context("sleep")?;
    let grace = pod["terminationGracePeriodSeconds"].as_u64().context("no grace period")?;
    let environment = environment(container)?;
    let known = quiet(server, &[]).args(["config", "default"]).output()?.stdout;
    let known = String::from_utf8(known)?;
    for (name, _) in &environment {
        // The server passes over what it does not know.
        let key = name.strip_prefix("CHANNELSTREAM_").unwrap_or_default().to_lowercase();
        ensure!(
            known.lines().any(|line| line.starts_with(&format!("{key} ="))),
            "no setting {name}"
        );
    }
    for (name, value) in [
        ("CHANNELSTREAM_PORT", ports[0]["containerPort"].to_string()),
        ("CHANNELSTREAM_METRICS_ADDR", format!("0.0.0.0:{}", ports[1]["containerPort"])),
    ] {
        ensure!(environment.contains(&(name.to_owned(), value.clone())), "{name} is not {value}");
    }
    let shutdown = environment.iter().find(|(name, _)| name.ends_with("_SHUTDOWN_TIMEOUT"));
    let shutdown: u64 = shutdown.context("no CHANNELSTREAM_SHUTDOWN_TIMEOUT")?.1.parse()?;
    ensure!(grace > sleep + shutdown, "a pod is killed before its server has ended");
    let is_shared = name == "redis";
    let strategy = &deployment["spec"]["strategy"];
    let surge = &strategy["rollingUpdate"]["maxSurge"];
    ensure!(strategy["type"] == if is_shared { "RollingUpdate" } else { "Recreate" }, "{strategy}");
    ensure!(!is_shared || *surge == 1, "{strategy}");
    ensure!(all("PodDisruptionBudget").len() == usize::from(is_shared), "PodDisruptionBudget");
    restricted(pod, container)?;

    // What the server says of its settings, and whether it answers the probes.
    let folder = tempfile::tempdir()?;
    for (file, text) in [
        ("secret", "0123456789abcdef0123"),
        ("admin_secret", "its own, and long enough"),
        ("cookie_secret", "another, and long enough"),
        ("redis_url", "redis://:password-of-redis@127.0.0.1:6379"),
    ] {
        fs::write(folder.path().join(file), text)?;
    }
    let local = format!("{}/", folder.path().display());
    let environment: Vec<_> = environment
        .into_iter()
        .map(|(name, value)| (name, value.replace(SECRETS, &local).replace(VOLUME, &local)))
        .collect();
    let checked = quiet(server, &environment).args(["config", "check"]).output()?;
    let told = String::from_utf8_lossy(&checked.stdout);
    let errors = String::from_utf8_lossy(&checked.stderr);
    ensure!(checked.status.success() && told == "ok\n", "config check: {told}{errors}");
    if is_shared {
        return Ok(());
    }
    let flags = ["--host", "127.0.0.1", "--port", "0", "--metrics-addr", "127.0.0.1:0"];
    let running = Running::start(quiet(server, &environment).args(flags))?;
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        let (path, port) = (get["path"].as_str().context("no path")?, &get["port"]);
        ensure!(*port == "http", "{probe} asks {port}");
        let url = format!("http://{}{path}", running.address);
        let asked = quiet(server, &[]).args(["health", &url]).output()?;
        ensure!(
            asked.status.success(),
            "{probe} {url}: {}",
            String::from_utf8_lossy(&asked.stderr)
        );
    }
    Ok(())
}

/// The program with these variables and no others of its own.
fn quiet(server: &Path, environment: &[(String, String)]) -> Command {
    let mut command = Command::new(server);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CHANNELSTREAM_") {
            command.env_remove(name);
        }
    }
    command.envs(environment.iter().cloned()).stdin(Stdio::null());
    command
}

/// The variables of a container, each of which stands once.
fn environment(container: &Value) -> Result<Vec<(String, String)>> {
    let mut names = BTreeSet::new();
    let variables = container["env"].as_array().context("no env")?.iter().map(|variable| {
        let text = |key: &str| variable[key].as_str().map(str::to_owned);
        let (name, value) = text("name").zip(text("value")).context("a variable without text")?;
        ensure!(names.insert(name.clone()), "{name} stands twice");
        Ok((name, value))
    });
    variables.collect()
}

/// Checks what the Pod Security Standard `restricted` asks for.
fn restricted(pod: &Value, container: &Value) -> Result<()> {
    let (all, own) = (&pod["securityContext"], &container["securityContext"]);
    ensure!(all["runAsNonRoot"] == true && all["runAsUser"] == 65532, "{all}");
    ensure!(all["seccompProfile"]["type"] == "RuntimeDefault", "{all}");
    ensure!(
        own["allowPrivilegeEscalation"] == false && own["readOnlyRootFilesystem"] == true,
        "{own}"
    );
    ensure!(
        own["capabilities"]["drop"][0] == "ALL" && own["capabilities"]["add"].is_null(),
        "{own}"
    );
    ensure!(
        pod["automountServiceAccountToken"] == false && pod["enableServiceLinks"] == false,
        "{pod}"
    );
    let kinds = pod["volumes"].as_array().into_iter().flatten();
    for volume in kinds {
        let is_allowed = !volume["secret"].is_null() || !volume["persistentVolumeClaim"].is_null();
        ensure!(is_allowed, "{volume}");
    }
    Ok(())
}

/// A server that is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: String,
}

impl Running {
    /// Starts it and waits until it listens.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let log = child.stderr.take().context("no log")?;
        let mut running = Self { child, address: String::new() };
        let mut told = String::new();
        for line in BufReader::new(log).lines() {
            let line = line?;
            if let Some((_, rest)) = line.split_once("listening on http://") {
                let address = rest.split([';', ' ']).next().unwrap_or_default();
                address.clone_into(&mut running.address);
                return Ok(running);
            }
            told = told + &line + "\n";
        }
        anyhow::bail!("the server ended: {told}")
    }
}

impl Running {
    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by SIGTERM, after which its exit status has to be 0.
    pub(crate) fn end(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        ensure!(Command::new("kill").arg(&id).status()?.success(), "kill {id}");
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

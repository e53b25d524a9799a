//! Three database nodes under Patroni, as `deploy/patroni/patroni.yml` sets them up, and three members of etcd, which is
//! their memory: all on this machine, as a user who is not root, in a folder that goes with them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::NoTls;

use crate::system::run;
use crate::tools::Tools;

const TEMPLATE: &str = include_str!("../../deploy/patroni/patroni.yml");
const SUPERUSER_PASSWORD: &str = "superuser-of-the-test";
/// The service's own user and database.
pub const USER: &str = "ussd";
pub const PASSWORD: &str = "secret-of-the-test";
pub const DATABASE: &str = "ussd_status";
/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A database node.
pub struct Node {
    name: String,
    pub port: u16,
    rest_port: u16,
}

/// The cluster; stopped and removed with this value.
pub struct Cluster {
    pub nodes: Vec<Node>,
    folder: PathBuf,
    /// The members that still run.
    etcd: Mutex<Vec<Child>>,
    patroni: Vec<Child>,
    http: reqwest::Client,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

impl Cluster {
    /// Starts it and waits until commits are acknowledged by two nodes.
    pub async fn start(tools: &Tools) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("ussd-status-failover-")
            .tempdir()
            .unwrap()
            .keep();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        let library = folder.join("patroni");
        let copied = [&tools.patroni, &library].map(|path| path.display().to_string());
        assert!(
            run("cp", &["-r", &copied[0], &copied[1]]),
            "copying Patroni"
        );
        if let Some((user, group)) = tools.user {
            let (owner, folder) = (format!("{user}:{group}"), folder.display().to_string());
            assert!(run("chown", &["-R", &owner, &folder]), "chown");
        }
        let members: Vec<Member> = (1..=3).map(Member::new).collect();
        let etcd = members
            .iter()
            .map(|member| member.start(tools, &folder, &members))
            .collect();
        let nodes: Vec<Node> = (1..=3)
            .map(|number| Node {
                name: format!("n{number}"),
                port: free_port(),
                rest_port: free_port(),
            })
            .collect();
        let mut cluster = Self {
            nodes,
            folder,
            etcd: Mutex::new(etcd),
            patroni: Vec::new(),
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(2))
                .build()
                .unwrap(),
        };
        for node in &cluster.nodes {
            let child = cluster.start_node(tools, node, &members);
            cluster.patroni.push(child);
        }
        cluster.until_whole().await;
        cluster.make_database().await;
        cluster
    }

    fn start_node(&self, tools: &Tools, node: &Node, members: &[Member]) -> Child {
        let folder = self.folder.display().to_string();
        let clients: Vec<u16> = members.iter().map(|member| member.client).collect();
        let values = BTreeMap::from([
            ("NODE", node.name.clone()),
            ("ADDRESS", "127.0.0.1".to_owned()),
            ("NETWORK", "127.0.0.1/32".to_owned()),
            ("PORT", node.port.to_string()),
            ("REST_PORT", node.rest_port.to_string()),
            ("ETCD_HOSTS", Self::hosts(&clients)),
            ("DATA", folder),
            ("PGBIN", tools.postgres.display().to_string()),
            ("SHARED_BUFFERS", "64MB".to_owned()),
            ("SUPERUSER_PASSWORD", SUPERUSER_PASSWORD.to_owned()),
            ("REPLICATION_PASSWORD", "replicator-of-the-test".to_owned()),
            ("REWIND_PASSWORD", "rewinder-of-the-test".to_owned()),
        ]);
        let mut text = TEMPLATE.to_owned();
        for (name, value) in values {
            text = text.replace(&format!("${{{name}}}"), &value);
        }
        // Comments may speak of ${…}.
        let left = text
            .lines()
            .find(|line| !line.starts_with('#') && line.contains("${"));
        assert_eq!(left, None, "nobody fills this in");
        let file = self.folder.join(format!("{}.yml", node.name));
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((user, group)) = tools.user {
            std::os::unix::fs::chown(&file, Some(user), Some(group)).unwrap();
        }
        let log = std::fs::File::create(self.folder.join(format!("{}.log", node.name))).unwrap();
        let mut command = tools.command(&tools.python, &self.folder);
        command
            .args(["-m", "patroni"])
            .arg(&file)
            .env("PYTHONPATH", self.folder.join("patroni"))
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command.spawn().unwrap()
    }

    /// Waits until all three nodes run, one of them leads, and both others follow it.
    pub async fn until_whole(&self) {
        let begun = Instant::now();
        loop {
            let mut states = Vec::new();
            for node in &self.nodes {
                let url = format!("http://127.0.0.1:{}/cluster", node.rest_port);
                let Ok(answer) = self.http.get(url).send().await else {
                    continue;
                };
                let Ok(told) = answer.json::<Value>().await else {
                    continue;
                };
                states = told["members"].as_array().cloned().unwrap_or_default();
                break;
            }
            let is = |field: &str, words: &[&str]| {
                states
                    .iter()
                    .filter(|member| words.contains(&member[field].as_str().unwrap_or_default()))
                    .count()
            };
            if is("state", &["running", "streaming"]) == 3
                && is("role", &["leader"]) == 1
                && is("role", &["quorum_standby"]) == 2
            {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the cluster is not whole: {states:?}\n{}",
                self.logs()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn logs(&self) -> String {
        let mut all = String::new();
        for node in &self.nodes {
            let file = self.folder.join(format!("{}.log", node.name));
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(15).collect();
            for line in lines.iter().rev() {
                all.push_str(&format!("{}: {line}\n", node.name));
            }
        }
        all
    }

    /// The node that leads, by its own word.
    pub async fn primary(&self) -> &Node {
        let begun = Instant::now();
        loop {
            for node in &self.nodes {
                let url = format!("http://127.0.0.1:{}/primary", node.rest_port);
                let answer = self.http.get(url).send().await;
                if answer.is_ok_and(|answer| answer.status() == 200) {
                    return node;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "nobody leads");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Kills a node's server, all its processes at once.
    pub fn kill(&self, node: &Node) {
        let pid = postmaster(&self.folder.join(&node.name)).expect("it runs");
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let mut pids = vec!["-KILL".to_owned(), pid];
        pids.extend(
            children
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned),
        );
        let pids: Vec<&str> = pids.iter().map(String::as_str).collect();
        run("kill", &pids);
    }

    /// Kills a member of etcd, for good. The others are enough, once and no more.
    pub fn kill_etcd(&self) {
        let mut members = self.etcd.lock().unwrap();
        assert_eq!(members.len(), 3, "two are needed");
        let mut member = members.swap_remove(0);
        member.kill().unwrap();
        member.wait().unwrap();
    }

    /// A URL of the primary among all nodes, by these ports.
    pub fn url(ports: &[u16], user: &str, password: &str, database: &str) -> String {
        let hosts = Self::hosts(ports);
        format!(
            "postgres://{user}:{password}@{hosts}/{database}?target_session_attrs=read-write&connect_timeout=1"
        )
    }

    /// A URL of the standbys.
    pub fn read_url(ports: &[u16]) -> String {
        let hosts = Self::hosts(ports);
        format!("postgres://{USER}:{PASSWORD}@{hosts}/{DATABASE}?target_session_attrs=read-only")
    }

    fn hosts(ports: &[u16]) -> String {
        let hosts: Vec<String> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        hosts.join(",")
    }

    /// The nodes' own ports.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    async fn make_database(&self) {
        let url = Self::url(&self.ports(), "postgres", SUPERUSER_PASSWORD, "postgres");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
            .batch_execute(&format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"))
            .await
            .unwrap();
        client
            .batch_execute(&format!("CREATE DATABASE {DATABASE} OWNER {USER}"))
            .await
            .unwrap();
    }
}

fn postmaster(data: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    text.lines().next().map(str::to_owned)
}

/// A member of etcd.
struct Member {
    name: String,
    client: u16,
    peer: u16,
}

impl Member {
    fn new(number: usize) -> Self {
        Self {
            name: format!("e{number}"),
            client: free_port(),
            peer: free_port(),
        }
    }

    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer)
    }

    fn start(&self, tools: &Tools, folder: &Path, all: &[Self]) -> Child {
        let log = std::fs::File::create(folder.join(format!("{}.log", self.name))).unwrap();
        let (client, peer) = (format!("http://127.0.0.1:{}", self.client), self.peer_url());
        let cluster: Vec<String> = all
            .iter()
            .map(|member| format!("{}={}", member.name, member.peer_url()))
            .collect();
        let mut command = tools.command(&tools.etcd, folder);
        command
            .args(["--name", &self.name, "--data-dir"])
            .arg(folder.join(&self.name))
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &cluster.join(",")])
            .args(["--initial-cluster-state", "new"])
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command.spawn().unwrap()
    }
}

impl Tools {
    /// A program as a user who is not root, with nothing of our surroundings.
    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", folder)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        // Patroni stops its server when it is asked to end; what is left after a while is ended by hand.
        for child in &self.patroni {
            run("kill", &["-TERM", &child.id().to_string()]);
        }
        let until = Instant::now() + Duration::from_secs(15);
        for child in &mut self.patroni {
            while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        for node in &self.nodes {
            if let Some(pid) = postmaster(&self.folder.join(&node.name)) {
                run("kill", &["-QUIT", &pid]);
            }
        }
        for member in self.etcd.get_mut().unwrap() {
            let _ = member.kill();
            let _ = member.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

//! Why a port cannot be had, and what to do about it.

use std::io;
use std::net::{SocketAddr, TcpListener};

use sockeye_edge::{BindError, ConfigError};
use sockeye_supervisor::Ports;

/// The first port that anybody may use.
const UNPRIVILEGED: u16 = 1024;

/// What to say when the public port cannot be had.
pub(crate) fn public(error: &ConfigError) -> String {
    let ConfigError::Bind(error) = error else { return error.to_string() };
    match error {
        BindError::InUse(address) => taken(*address, "--port"),
        BindError::Denied(address) => denied(*address, "--port"),
        BindError::NoSuchAddress(address) => {
            format!(
                "{} is no address of this machine: choose one that is, or --host 0.0.0.0 for all",
                address.ip()
            )
        }
        BindError::Other { .. } | BindError::Unix { .. } => error.to_string(),
    }
}

/// Tries the ports that workers are to have, so that a taken one is told once and not by every worker.
pub(crate) fn try_workers(ports: Ports, instances: u32) -> Result<(), String> {
    for port in (0..instances).filter_map(|instance| ports.of(instance)) {
        let address = SocketAddr::new(ports.host, port);
        let Err(error) = TcpListener::bind(address) else { continue };
        return Err(if error.kind() == io::ErrorKind::AddrInUse {
            taken(address, "--worker-ports")
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            denied(address, "--worker-ports")
        } else {
            format!("cannot listen on {address}: {error}")
        });
    }
    Ok(())
}

fn taken(address: SocketAddr, flag: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    let other = if port == u16::MAX { port - 1 } else { port + 1 };
    format!("port {port} on {ip} is taken by another program: stop it, or choose another with {flag} {other}")
}

fn denied(address: SocketAddr, flag: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    let other = if port < UNPRIVILEGED { 3000 } else { port };
    format!(
        "no right to listen on port {port} of {ip}: choose one from {UNPRIVILEGED} up with {flag} {other}, or run \
         setcap cap_net_bind_service=+ep on this program"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_says_what_to_do() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let rows = [
            (
                BindError::InUse(address("127.0.0.1:3000")),
                "port 3000 on 127.0.0.1 is taken by another program: stop it, or choose another with --port 3001",
            ),
            (
                BindError::Denied(address("0.0.0.0:80")),
                "no right to listen on port 80 of 0.0.0.0: choose one from 1024 up with --port 3000, or run \
                 setcap cap_net_bind_service=+ep on this program",
            ),
            (
                BindError::NoSuchAddress(address("192.0.2.1:3000")),
                "192.0.2.1 is no address of this machine: choose one that is, or --host 0.0.0.0 for all",
            ),
        ];
        for (error, expected) in rows {
            assert_eq!(public(&ConfigError::Bind(error)), expected);
        }
    }

    #[test]
    fn a_workers_port_that_is_taken_is_found_before_any_worker_starts() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let ports =
            Ports { host: other.local_addr().unwrap().ip(), first: other.local_addr().unwrap().port() };
        let line = try_workers(ports, 1).unwrap_err();
        assert!(line.contains(&format!("port {}", ports.first)), "{line}");
        assert!(line.contains("--worker-ports"), "{line}");
    }
}

//! Whom to ask what any broker knows.

use super::cluster::{Cluster, Endpoint};
use super::network::{Network, Peer};

/// The addresses of the manifest.
#[derive(Debug)]
pub(super) struct Seeds {
    endpoints: Vec<Endpoint>,
    // Whom to ask next where nobody is connected.
    turn: usize,
}

impl Seeds {
    pub(super) fn new(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints, turn: 0 }
    }

    /// A peer that is connected, else another one each time: brokers that were known may all have moved, and those of
    /// the manifest may be the ones that are away.
    pub(super) fn anybody(&mut self, network: &Network, cluster: &Cluster) -> Option<(Peer, Endpoint)> {
        let connected = network.open_peers().find_map(|peer| Some((peer, self.endpoint(peer, cluster)?)));
        if connected.is_some() {
            return connected;
        }
        let seeds = self.endpoints.iter().enumerate().map(|(place, seed)| (Peer::Seed(place), seed));
        let brokers = cluster.endpoints().map(|(node, endpoint)| (Peer::Broker(node), endpoint));
        let all: Vec<_> = seeds.chain(brokers).collect();
        let (peer, endpoint) = *all.get(self.turn % all.len().max(1))?;
        self.turn += 1;
        Some((peer, endpoint.clone()))
    }

    fn endpoint(&self, peer: Peer, cluster: &Cluster) -> Option<Endpoint> {
        match peer {
            Peer::Broker(node) => cluster.endpoint(node).cloned(),
            Peer::Seed(place) => self.endpoints.get(place).cloned(),
        }
    }

    /// A seed that has told about the cluster is one of the brokers, or is not needed any more.
    pub(super) fn settle(&self, network: &mut Network, cluster: &Cluster, peer: Peer) {
        let Peer::Seed(place) = peer else { return };
        let same = |(_, endpoint): &(i32, &Endpoint)| self.endpoints.get(place) == Some(*endpoint);
        match cluster.endpoints().find(same) {
            Some((node, _)) if !network.has(Peer::Broker(node)) => network.rename(peer, Peer::Broker(node)),
            _ => network.close(peer),
        }
    }
}

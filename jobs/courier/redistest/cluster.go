package redistest

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// slots is how many hash slots a cluster has.
const slots = 16384

// Cluster is a cluster of three masters without replicas.
type Cluster struct {
	// Nodes are the masters; each has a third of the hash slots.
	Nodes []*Server
	// URL is the address, as batchwright takes it.
	URL string
}

// StartCluster runs a cluster and waits until each of its nodes takes commands. It needs Redis 7.0 or Valkey; the test
// is skipped as by Start.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	c := &Cluster{}
	var buses, addresses []string
	for range 3 {
		var bus string
		node := startServer(tb, Options{}, func() []string {
			bus = freePort(tb)
			return []string{"cluster-enabled yes", "cluster-config-file ../nodes", "cluster-port " + bus}
		})
		c.Nodes, buses, addresses = append(c.Nodes, node), append(buses, bus), append(addresses, node.Addr)
	}
	c.URL = "redis+cluster://" + strings.Join(addresses, ",")
	for i, node := range c.Nodes {
		if err := node.Client.ClusterAddSlotsRange(tb.Context(), i*slots/3, (i+1)*slots/3-1).Err(); err != nil {
			tb.Fatalf("give slots to node %d: %v", i, err)
		}
	}
	for i, node := range c.Nodes[1:] {
		host, port, err := net.SplitHostPort(node.Addr)
		if err != nil {
			tb.Fatal(err)
		}
		// go-redis' ClusterMeet has no place for the port of the bus.
		if err := c.Nodes[0].Client.Do(tb.Context(), "cluster", "meet", host, port, buses[i+1]).Err(); err != nil {
			tb.Fatalf("introduce node %d: %v", i+1, err)
		}
	}
	for i, node := range c.Nodes {
		if err := node.process.await(func(ctx context.Context) error { return knowsAll(ctx, node.Client) }); err != nil {
			tb.Fatalf("node %d of the cluster: %v", i, err)
		}
	}
	return c
}

// knowsAll asks a node whether it sees the whole cluster.
func knowsAll(ctx context.Context, node *redis.Client) error {
	state, err := node.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	for _, line := range []string{"cluster_state:ok", "cluster_known_nodes:3"} {
		if !strings.Contains(state, line) {
			return errors.New("not yet " + line)
		}
	}
	return nil
}

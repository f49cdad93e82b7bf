// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package scale_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/gomega"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/hnsguard/hnsguard/test/bench/usage"
	"github.com/hnsguard/hnsguard/test/bigcluster"
)

// The changes of slices.
const (
	rate   = 1000
	lasts  = time.Minute
	sample = 15 * time.Second
)

// changed returns the slice of the n-th change; the changes rotate through all slices.
func changed(changes int) *discoveryv1.EndpointSlice {
	return bigcluster.Slice(namespace, changes%bigcluster.Slices, changes/bigcluster.Slices+1)
}

// churn changes slices all the time, at the required rate or as fast as the API server can, and then measures how long
// the agent takes to see one more change.
func (n *node) churn(writer *kubernetes.Clientset) {
	n.t.Helper()
	api := writer.DiscoveryV1().EndpointSlices(namespace)
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	begun := time.Now()
	updates := atomic.Int64{}
	ended := make(chan struct{})
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for {
				select {
				case <-ended:
					return
				case <-tick.C:
				}
				// Without a version the last writer wins.
				if _, err := api.Update(n.t.Context(), changed(int(updates.Add(1))), metav1.UpdateOptions{}); err != nil {
					n.t.Error(err)
					return
				}
			}
		})
	}
	for sampled := sample; sampled <= lasts; sampled += sample {
		time.Sleep(time.Until(begun.Add(sampled)))
		report(fmt.Sprintf("churn/seconds=%d", int(sampled.Seconds())), n.heap()...)
	}
	close(ended)
	all.Wait()
	took := time.Since(begun)
	behind := n.catchUp(writer, 0)
	report("churn/end", append(n.heap(), float64(updates.Load())/took.Seconds(), "updates/s", behind.Seconds(), "behind-s")...)
}

// replay changes slices at the required rate for the agent alone: the changes are added to the API server's stream. The
// processor time is that of the process, which also makes the changes.
func (n *node) replay(writer *kubernetes.Clientset) {
	n.t.Helper()
	g := NewWithT(n.t)
	now, err := writer.DiscoveryV1().EndpointSlices(namespace).List(n.t.Context(), metav1.ListOptions{Limit: 1})
	g.Expect(err).NotTo(HaveOccurred())
	modified := func(changes int) *discoveryv1.EndpointSlice {
		s := changed(changes)
		s.ResourceVersion = now.ResourceVersion
		return s
	}
	const tried = 5000
	used := usage.Processor(n.t)
	for changes := range tried {
		_, err := encoded(modified(changes))
		g.Expect(err).NotTo(HaveOccurred())
	}
	making := (usage.Processor(n.t) - used).Seconds() / tried * rate * 100

	begun, made := time.Now(), 0
	for sampled := sample; sampled <= lasts; sampled += sample {
		used, since := usage.Processor(n.t), time.Now()
		for ; time.Since(begun) < sampled; made++ {
			time.Sleep(time.Until(begun.Add(time.Duration(made) * time.Second / rate)))
			g.Expect(n.stream.add(modified(made))).To(Succeed())
		}
		spent := (usage.Processor(n.t) - used).Seconds() / time.Since(since).Seconds() * 100
		report(fmt.Sprintf("replay/seconds=%d", int(sampled.Seconds())), append(n.heap(), spent, "%core")...)
	}
	took := time.Since(begun)
	behind := n.catchUp(writer, 1)
	report("replay/end", append(n.heap(), float64(made)/took.Seconds(), "updates/s", behind.Seconds(), "behind-s",
		making, "making-%core")...)
}

// heap returns the heap of the agent, for a report.
func (n *node) heap() []any {
	return []any{(usage.Heap() - n.before) / bigcluster.Addresses, "heap-B/address"}
}

// catchUp returns how long the agent takes to act on the new slice with the number.
func (n *node) catchUp(writer *kubernetes.Clientset, number int) time.Duration {
	n.t.Helper()
	g := NewWithT(n.t)
	fresh, name := bigcluster.Address(bigcluster.Addresses+number), fmt.Sprintf("last-%d", number)
	before := n.inUse()
	n.remote(fresh)
	_, err := writer.DiscoveryV1().EndpointSlices(namespace).Create(n.t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{fresh.String()}, NodeName: new("aks-linux-00001-vmss")}},
	}, metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	wrote := time.Now()
	g.Eventually(n.inUse, time.Minute, time.Millisecond).Should(Equal(before + 1))
	return time.Since(wrote)
}

// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// maker creates an endpoint with an address.
type maker func(context.Context, netip.Addr) (hns.EndpointID, error)

// twins creates two endpoints with one address, if HNS can create the second one alone.
func twins(ctx context.Context, b *bench, first, second maker) (one, other hns.EndpointID, err error) {
	if _, err := second(ctx, b.newAddress()); err != nil {
		return "", "", err
	}
	addr := b.newAddress()
	if one, err = first(ctx, addr); err != nil {
		return "", "", err
	}
	if other, err = second(ctx, addr); err != nil {
		return "", "", refutedf("refused: %v", err)
	}
	return one, other, nil
}

func remoteBesideLocal(ctx context.Context, b *bench) (string, error) {
	_, _, err := twins(ctx, b, b.local, b.remote)
	return "both are there", err
}

func localBesideRemote(ctx context.Context, b *bench) (string, error) {
	_, _, err := twins(ctx, b, b.remote, b.local)
	return "both are there", err
}

func remoteBesideRemote(ctx context.Context, b *bench) (string, error) {
	_, _, err := twins(ctx, b, b.remote, b.remote)
	return "both are there", err
}

func secondLocal(ctx context.Context, b *bench) (string, error) {
	_, _, err := twins(ctx, b, b.local, b.local)
	switch {
	case err == nil:
		return "", refutedf("both are there")
	case errors.As(err, new(refuted)):
		return err.Error(), nil
	default:
		return "", err
	}
}

// deletesOneOfTwo deletes a remote endpoint with the address of a local one, which is what hnsguard exists for.
func deletesOneOfTwo(ctx context.Context, b *bench) (string, error) {
	remote, local, err := twins(ctx, b, b.remote, b.local)
	if err != nil { // another assumption covers this refusal
		return "", fmt.Errorf("there are no two endpoints with one address: %w", errors.New(err.Error()))
	}
	if err := b.remove(ctx, string(remote)); err != nil {
		return "", err
	}
	_, err = b.hns.Endpoint(ctx, local)
	if errors.Is(err, hns.ErrNotFound) {
		return "", refutedf("the local endpoint went with the remote one: %v", err)
	}
	return "the local endpoint stays", err
}

const lists = 100

// order lists a hundred times, with a change before each list, and determines the rule that all lists follow.
func order(ctx context.Context, b *bench) (string, error) {
	made, err := b.remotes(ctx, 10)
	if err != nil {
		return "", err
	}
	rules := map[string]func([]hns.EndpointID) []hns.EndpointID{
		"oldest first": slices.Clone[[]hns.EndpointID],
		"newest first": func(ids []hns.EndpointID) []hns.EndpointID {
			ids = slices.Clone(ids)
			slices.Reverse(ids)
			return ids
		},
		"by ID": func(ids []hns.EndpointID) []hns.EndpointID { return slices.Sorted(slices.Values(ids)) },
	}
	for i := range lists {
		oldest := i % len(made) / 2 // not always the first, so that gaps are filled, if HNS does so
		if err := b.remove(ctx, string(made[oldest])); err != nil {
			return "", err
		}
		id, err := b.remote(ctx, b.newAddress())
		if err != nil {
			return "", err
		}
		made = append(slices.Delete(made, oldest, oldest+1), id)
		listed, err := b.hns.ListEndpointIDs(ctx)
		if err != nil {
			return "", err
		}
		listed = slices.DeleteFunc(listed, func(id hns.EndpointID) bool { return !slices.Contains(made, id) })
		for name, rule := range rules {
			if !slices.Equal(listed, rule(made)) {
				delete(rules, name)
			}
		}
	}
	if _, is := rules["oldest first"]; is {
		return fmt.Sprintf("in all of %d lists", lists), nil
	}
	for name := range rules {
		return "", refutedf("%s, in all of %d lists", name, lists)
	}
	return "", refutedf("in no fixed order, in %d lists", lists)
}

func listedWhenMade(ctx context.Context, b *bench) (string, error) {
	for n := range 20 {
		id, err := b.remote(ctx, b.newAddress())
		if err != nil {
			return "", err
		}
		listed, err := b.hns.ListEndpointIDs(ctx)
		if err != nil {
			return "", err
		}
		if !slices.Contains(listed, id) {
			return "", refutedf("of %d endpoints, one is not in the list that was made after it", n+1)
		}
	}
	return "20 of 20", nil
}

func goneWhenDeleted(ctx context.Context, b *bench) (string, error) {
	ids, err := b.remotes(ctx, 20)
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		if err := b.remove(ctx, string(id)); err != nil {
			return "", err
		}
		listed, err := b.hns.ListEndpointIDs(ctx)
		if err != nil {
			return "", err
		}
		if slices.Contains(listed, id) {
			return "", refutedf("a deleted endpoint is in the list that was made after that")
		}
		if _, err := b.hns.Endpoint(ctx, id); err == nil {
			return "", refutedf("a deleted endpoint can be read")
		}
	}
	return "20 of 20", nil
}

// notFound reads and deletes endpoints that do not exist, to get the codes.
func notFound(ctx context.Context, b *bench) (string, error) {
	gone, err := b.remote(ctx, b.newAddress())
	if err != nil {
		return "", err
	}
	if err := b.remove(ctx, string(gone)); err != nil {
		return "", err
	}
	var saw []string
	for _, id := range []hns.EndpointID{gone, hns.EndpointID(uuid.NewString())} {
		_, errRead := b.hns.Endpoint(ctx, id)
		errDelete := b.hns.DeleteEndpoint(ctx, id)
		for what, err := range map[string]error{"reading": errRead, "deleting": errDelete} {
			if !errors.Is(err, hns.ErrNotFound) {
				return "", refutedf("%s what is not there: %v", what, err)
			}
		}
		saw = append(saw, errRead.Error(), errDelete.Error())
	}
	return codesOr(saw, "not found"), nil
}

// codesOr returns the codes in texts, or a default.
func codesOr(texts []string, otherwise string) string {
	if codes := codesIn(strings.Join(texts, " ")); len(codes) > 0 {
		return "(" + strings.Join(codes, "), (") + ")"
	}
	return otherwise
}

func endpointAsGiven(ctx context.Context, b *bench) (string, error) {
	addr := b.newAddress()
	id, err := b.remote(ctx, addr)
	if err != nil {
		return "", err
	}
	got, err := b.hns.Endpoint(ctx, id)
	if err != nil {
		return "", err
	}
	want := hns.Endpoint{
		ID: id, Network: b.network.ID, Addresses: []netip.Addr{addr}, MAC: markedMAC(b.number), Flags: hns.FlagRemote,
	}
	if !got.SameIdentity(want) || got.Attached() || got.Untranslated != "" {
		return "", refutedf("made %s, read %s", describe(want, want), describe(got, want))
	}
	return describe(got, want), nil
}

// describe describes an endpoint, without addresses: the network may be a given one.
func describe(e, want hns.Endpoint) string {
	return fmt.Sprintf("flags %d, attached: %t; the same network: %t, address: %t, hardware address: %t",
		e.Flags, e.Attached(), e.Network == want.Network, slices.Equal(e.Addresses, want.Addresses), e.MAC == want.MAC)
}

func localAsGiven(ctx context.Context, b *bench) (string, error) {
	addr := b.newAddress()
	id, err := b.local(ctx, addr)
	if err != nil {
		return "", err
	}
	got, err := b.hns.Endpoint(ctx, id)
	if err != nil {
		return "", err
	}
	want := hns.Endpoint{ID: id, Network: b.network.ID, Addresses: []netip.Addr{addr}, MAC: got.MAC, Flags: got.Flags}
	if got.Remote() || !got.SameIdentity(want) {
		return "", refutedf("made a local endpoint, read %s", describe(got, want))
	}
	return describe(got, want), nil
}

func idsAreNew(ctx context.Context, b *bench) (string, error) {
	seen := map[hns.EndpointID]bool{}
	addr := b.newAddress()
	for range 20 {
		id, err := b.remote(ctx, addr)
		if err != nil {
			return "", err
		}
		if seen[id] {
			return "", refutedf("an endpoint has the ID of one that was deleted")
		}
		seen[id] = true
		if err := b.remove(ctx, string(id)); err != nil {
			return "", err
		}
	}
	return "20 endpoints with one address, one after the other", nil
}

// backed creates a load balancer with two backends.
func backed(ctx context.Context, b *bench) (hns.LoadBalancer, error) {
	ids, err := b.remotes(ctx, 2)
	if err != nil {
		return hns.LoadBalancer{}, err
	}
	return b.balancer(ctx, b.newFrontend(), ids...)
}

func deletesBackend(ctx context.Context, b *bench) (string, error) {
	lb, err := backed(ctx, b)
	if err != nil {
		return "", err
	}
	if err := b.remove(ctx, string(lb.Endpoints[0])); err != nil {
		return "", refutedf("refused: %v", err)
	}
	return "deleted", nil
}

func balancerDangles(ctx context.Context, b *bench) (string, error) {
	lb, err := backed(ctx, b)
	if err != nil {
		return "", err
	}
	gone := lb.Endpoints[0]
	if err := b.remove(ctx, string(gone)); err != nil {
		return "", err
	}
	got, err := b.balancerOf(ctx, lb.ID)
	if errors.Is(err, hns.ErrNotFound) {
		return "", refutedf("the load balancer went with its backend")
	}
	if err != nil {
		return "", err
	}
	if !got.Refers(gone) {
		return "", refutedf("of two backends, %d are left", len(got.Endpoints))
	}
	return "the ID stays", nil
}

func balancerAsGiven(ctx context.Context, b *bench) (string, error) {
	want, err := backed(ctx, b)
	if err != nil {
		return "", err
	}
	got, err := b.balancerOf(ctx, want.ID)
	if err != nil {
		return "", err
	}
	frontends, ports := slices.Equal(got.FrontendVIPs, want.FrontendVIPs), slices.Equal(got.Ports, want.Ports)
	backends := sameBackends(got, want.Endpoints)
	saw := fmt.Sprintf("the same frontends: %t, ports: %t, backends: %t", frontends, ports, backends)
	if !frontends || !ports || !backends {
		return "", refutedf("%s", saw)
	}
	return saw, nil
}

func sameBackends(lb hns.LoadBalancer, ids []hns.EndpointID) bool {
	return slices.Equal(slices.Sorted(slices.Values(lb.Endpoints)), slices.Sorted(slices.Values(ids)))
}

// balancersVanish lists while load balancers are being deleted.
func balancersVanish(ctx context.Context, b *bench) (string, error) {
	backend, err := b.remote(ctx, b.newAddress())
	if err != nil {
		return "", err
	}
	var vanish []hns.LoadBalancer
	for range 20 {
		lb, err := b.balancer(ctx, b.newFrontend(), backend)
		if err != nil {
			return "", err
		}
		vanish = append(vanish, lb)
	}
	deleted := make(chan error, 1)
	go func() {
		var errs []error
		for _, lb := range vanish {
			_, err := b.hns.ListEndpointIDs(ctx) // this takes a moment, so that some remain for the first list
			errs = append(errs, err, b.remove(ctx, string(lb.ID)))
		}
		deleted <- errors.Join(errs...)
	}()
	for n := 1; ; n++ {
		ended, errDelete := false, error(nil)
		select {
		case errDelete = <-deleted:
			ended = true
		default:
		}
		if _, err := b.hns.LoadBalancers(ctx); err != nil {
			if !ended {
				errDelete = <-deleted
			}
			return "", errors.Join(errDelete, refutedf("a list failed: %v", err))
		}
		if ended {
			return fmt.Sprintf("%d lists while %d vanished", n, len(vanish)), errDelete
		}
	}
}

// updates compares the effect of an update with what hnsguard and kube-proxy expect of the version.
func updates(ctx context.Context, b *bench) (string, error) {
	text, err := b.hns.Version(ctx)
	if err != nil {
		return "", err
	}
	service, err := version.ParseGeneric(text)
	if err != nil {
		return "", fmt.Errorf("reading the version %q of HNS: %w", text, err)
	}
	lb, err := backed(ctx, b)
	if err != nil {
		return "", err
	}
	wanted := lb
	wanted.Endpoints = lb.Endpoints[:1]
	errUpdate := b.hns.UpdateLoadBalancer(ctx, wanted)
	got, err := b.balancerOf(ctx, lb.ID)
	if err != nil {
		return "", err
	}
	saw, expected := "updates in place", "updates in place"
	switch {
	case errUpdate != nil:
		saw = "refuses"
	case !sameBackends(got, wanted.Endpoints):
		saw = "ignores"
	}
	switch {
	case service.LessThan(version.MustParseGeneric("15.4")):
		expected = "refuses"
	case service.LessThan(version.MustParseGeneric("15.5")):
		expected = "ignores"
	}
	if errUpdate != nil {
		saw = fmt.Sprintf("%s: %v", saw, errUpdate)
	}
	if saw = fmt.Sprintf("HNS %s %s", text, saw); !strings.HasPrefix(saw, "HNS "+text+" "+expected) {
		return "", refutedf("%s", saw)
	}
	return saw, nil
}

func frontendTwice(ctx context.Context, b *bench) (string, error) {
	lb, err := backed(ctx, b)
	if err != nil {
		return "", err
	}
	if _, err := b.balancer(ctx, lb.FrontendVIPs[0], lb.Endpoints...); err != nil {
		return "", refutedf("refused: %v", err)
	}
	return "both are there", nil
}

func attachedShows(ctx context.Context, b *bench) (string, error) {
	attached, namespace, err := attach(ctx, b)
	if err != nil {
		return "", err
	}
	other, err := b.local(ctx, b.newAddress())
	if err != nil {
		return "", err
	}
	if _, err := b.namespace(ctx); err != nil { // it stays empty
		return "", err
	}
	a, errA := b.hns.Endpoint(ctx, attached)
	o, errO := b.hns.Endpoint(ctx, other)
	if err := errors.Join(errA, errO); err != nil {
		return "", err
	}
	if a.Namespace != namespace || o.Attached() {
		return "", refutedf("of two endpoints the first is attached to %s; they show %q and %q, and %d and %d containers",
			namespace, a.Namespace, o.Namespace, a.SharedContainers, o.SharedContainers)
	}
	return "the attached one of two", nil
}

func attach(ctx context.Context, b *bench) (hns.EndpointID, hns.NamespaceID, error) {
	endpoint, err := b.local(ctx, b.newAddress())
	if err != nil {
		return "", "", err
	}
	namespace, err := b.namespace(ctx)
	if err != nil {
		return "", "", err
	}
	return endpoint, namespace, b.hns.Attach(ctx, endpoint, namespace)
}

func detachedShows(ctx context.Context, b *bench) (string, error) {
	endpoint, namespace, err := attach(ctx, b)
	if err != nil {
		return "", err
	}
	if err := b.remove(ctx, string(namespace)); err != nil {
		return "", err
	}
	got, err := b.hns.Endpoint(ctx, endpoint)
	switch {
	case errors.Is(err, hns.ErrNotFound):
		return "", refutedf("the endpoint went with its namespace: %v", err)
	case err != nil:
		return "", err
	case got.Attached():
		return "", refutedf("it still shows a namespace, or %d containers", got.SharedContainers)
	default:
		return "the endpoint stays, and shows none", nil
	}
}

func outsideSubnet(ctx context.Context, b *bench) (string, error) {
	return accepts(ctx, b, netip.MustParseAddr("198.51.99.77"))
}

// documentation tries an address like that of the flush slice.
func documentation(ctx context.Context, b *bench) (string, error) {
	return accepts(ctx, b, netip.MustParseAddr("198.51.100.77"))
}

func accepts(ctx context.Context, b *bench, addr netip.Addr) (string, error) {
	if _, err := b.remotes(ctx, 1); err != nil { // HNS accepts an address of its own subnets
		return "", err
	}
	if _, err := b.remote(ctx, addr); err != nil {
		return "", refutedf("refused %s: %v", addr, err)
	}
	return addr.String(), nil
}

func tellsVersion(ctx context.Context, b *bench) (string, error) {
	text, err := b.hns.Version(ctx)
	if err != nil {
		return "", refutedf("%v", err)
	}
	return text, nil
}

// fast times calls with increasing numbers of endpoints.
func fast(ctx context.Context, b *bench) (string, error) {
	var saw []string
	var slowest time.Duration
	for _, n := range []int{10, 100, b.opts.Endpoints} {
		if n > b.opts.Endpoints || n <= len(b.made) {
			continue
		}
		if _, err := b.remotes(ctx, n-len(b.made)); err != nil {
			return "", err
		}
		var listed []hns.EndpointID
		list, err := timed(b, func() (err error) { listed, err = b.hns.ListEndpointIDs(ctx); return err })
		if err != nil {
			return "", err
		}
		read := time.Duration(0)
		for _, id := range listed[max(0, len(listed)-n):] {
			took, err := timed(b, func() error { _, err := b.hns.Endpoint(ctx, id); return err })
			if err != nil && !errors.Is(err, hns.ErrNotFound) {
				return "", err
			}
			read = max(read, took)
		}
		saw = append(saw, fmt.Sprintf("with %d: list %s, slowest read %s", n, list, read))
		slowest = max(slowest, list, read)
	}
	text := strings.Join(saw, "; ")
	if slowest >= b.opts.CallTimeout {
		return "", refutedf("%s", text)
	}
	return text, nil
}

func timed(b *bench, do func() error) (time.Duration, error) {
	began := b.opts.Clock.Now()
	err := do()
	return b.opts.Clock.Since(began).Round(100 * time.Microsecond), err
}

// together makes calls in parallel, like the passes and the reader of load balancers.
func together(ctx context.Context, b *bench) (string, error) {
	ids, err := b.remotes(ctx, 8)
	if err != nil {
		return "", err
	}
	errs := make([]error, len(ids))
	var done sync.WaitGroup
	for i, id := range ids {
		done.Go(func() {
			if _, errs[i] = b.hns.ListEndpointIDs(ctx); errs[i] == nil {
				errs[i] = b.hns.DeleteEndpoint(ctx, id)
			}
		})
	}
	done.Wait()
	if err := errors.Join(errs...); err != nil {
		return "", refutedf("%v", err)
	}
	b.made = nil
	left, err := b.hns.ListEndpointIDs(ctx)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(ids, func(id hns.EndpointID) bool { return slices.Contains(left, id) }) {
		return "", refutedf("of %d endpoints that were deleted at the same time, some are left", len(ids))
	}
	return fmt.Sprintf("%d lists and deletions", len(ids)), nil
}

func networkListed(ctx context.Context, b *bench) (string, error) {
	networks, err := b.hns.Networks(ctx)
	if err != nil {
		return "", err
	}
	for _, n := range networks {
		if n.ID != b.network.ID {
			continue
		}
		if n.Name != b.network.Name || n.Type != b.network.Type {
			return "", refutedf("a network of type %s is listed with the type %q; with its name: %t",
				b.network.Type, n.Type, n.Name == b.network.Name)
		}
		return string(n.Type), nil
	}
	return "", refutedf("the network is not in the list of %d networks", len(networks))
}

func localSystem(ctx context.Context, b *bench) (string, error) {
	if !b.opts.LocalSystem {
		return "", errors.New("this run is not of LocalSystem")
	}
	id, err := b.local(ctx, b.newAddress())
	if err != nil {
		return "", err
	}
	if err := b.remove(ctx, string(id)); err != nil {
		return "", refutedf("%v", err)
	}
	return "made and deleted", nil
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	utilexec "k8s.io/client-go/util/exec"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/doctor"
	"github.com/hnsguard/hnsguard/internal/fleet"
	"github.com/hnsguard/hnsguard/internal/report"
)

// defaultNamespace is the default namespace of the release, and defaultSelector selects its agents.
const defaultNamespace = "hnsguard-system"

func defaultSelector() labels.Selector {
	return labels.SelectorFromSet(labels.Set{"app.kubernetes.io/name": "hnsguard"})
}

// release says where the agents are. The selector selects the DaemonSet and its pods.
type release struct {
	context, kubeconfig, namespace string
	selector                       labels.Selector
}

// releaseOf returns the release according to the flags of [addRemote].
func releaseOf(flags *pflag.FlagSet) (release, error) {
	value := func(name string) string { return flags.Lookup(name).Value.String() }
	selector, err := labels.Parse(value("selector"))
	if err != nil {
		err = usageError{fmt.Errorf("--selector %q: %w", value("selector"), err)}
	}
	return release{value("context"), value("kubeconfig"), cmp.Or(value("namespace"), defaultNamespace), selector}, err
}

// remote runs a command on another node, in the pod of its agent.
type remote struct {
	release
	// node is the node to run on. If empty, it is the node of the pod.
	node string
	pod  types.NamespacedName
	// args are the arguments of the command.
	args []string
}

// addRemote makes a command run on another node on request. The command must have the flag --kubeconfig. podOf returns
// the pod that the arguments name, if the command should run on the pod's node.
func addRemote(cmd *cobra.Command, p Process, podOf func(args []string) (types.NamespacedName, bool)) {
	var node string
	flags, here := cmd.Flags(), cmd.RunE
	flags.StringVar(&node, "node", "",
		"run this command on that node, in its agent's pod, as 'kubectl exec' does; you need the same rights")
	flags.String("context", "", "with --node: context of the kubeconfig; without it, the current one")
	flags.StringP("selector", "l", defaultSelector().String(),
		"with --node: labels of the release's DaemonSet and its pods")
	if flags.Lookup("namespace") == nil {
		flags.StringP("namespace", "n", "", "with --node: namespace of the release (default: "+defaultNamespace+")")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pod, found := podOf(args)
		if node == "" && !found {
			return here(cmd, args)
		}
		where, err := releaseOf(flags)
		if err != nil {
			return err
		}
		return remote{where, node, pod, args}.run(cmd, p)
	}
}

// run runs the command there, with its arguments and those flags that do not concern this machine.
func (r remote) run(cmd *cobra.Command, p Process) error {
	command, err := commandOf(cmd, r.args)
	if err != nil {
		return err
	}
	run := func(out io.Writer) error { return r.exec(cmd.Context(), command, out, p) }
	flag := cmd.Flags().Lookup("file")
	if flag == nil {
		return run(p.Out)
	}
	file := flag.Value.String()
	if err := checkFile(file, p.Out); err != nil {
		return err
	}
	if err := toFile(p, file, run); err != nil {
		return err
	}
	return reportFile(p, r.node, file)
}

// commandOf returns the command that runs in the agent's container for a command line here.
func commandOf(cmd *cobra.Command, args []string) ([]string, error) {
	command := append([]string{fleet.Program, cmd.Name()}, args...)
	var errs []error
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		switch name := flag.Name; name {
		case "node", "context", "kubeconfig", "namespace", "selector":
		case "file":
			command = append(command, "--file=-")
		case "node-name", "hns-dump", "cluster-dump", "hns-recorded", "cluster-recorded", "recording", "bundle",
			"kube-proxy-log", "config":
			errs = append(errs, fmt.Errorf("--%s: cannot be combined with --node, which judges the node as it is", name))
		default:
			for _, value := range valuesOf(flag.Value) {
				command = append(command, "--"+name+"="+value)
			}
		}
	})
	return command, usage(errors.Join(errs...))
}

// valuesOf returns the values of a repeatable flag, or the single value.
func valuesOf(value pflag.Value) []string {
	if list, is := value.(pflag.SliceValue); is {
		return list.GetSlice()
	}
	return []string{value.String()}
}

// exec runs the command in the pod of the node's agent. Its exit status becomes that of this process.
func (r remote) exec(ctx context.Context, command []string, out io.Writer, p Process) error {
	config, err := personConfig(r.kubeconfig, r.context, p.Env)
	if err != nil {
		return err
	}
	reader, err := readerOf(config)
	if err != nil {
		return err
	}
	node, err := r.findNode(ctx, reader)
	if err != nil {
		return err
	}
	err = r.execOn(ctx, node, config, reader, command, out, p)
	var exit utilexec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.Exited():
		return result(exit.ExitStatus()) // the command has printed the reason
	default:
		return fmt.Errorf("%w\n%s", err, r.withoutAgent(ctx, config, node, command))
	}
}

func (r remote) execOn(
	ctx context.Context, node string, config *rest.Config, api client.Reader, command []string, out io.Writer, p Process,
) error {
	pod, err := fleet.Options{API: api, Namespace: r.namespace, Selector: r.selector}.Agent(ctx, node)
	if err != nil {
		return err
	}
	execute, err := fleet.NewExecutor(config)
	if err != nil {
		return err
	}
	if err := execute(ctx, pod, command, out, p.Err); err != nil {
		return fmt.Errorf("running %s in pod %s: %w", command[1], pod, err)
	}
	return nil
}

// withoutAgent returns what the API server alone knows, and how to run the command without an agent.
func (r remote) withoutAgent(ctx context.Context, config *rest.Config, node string, command []string) string {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var about report.Filter
	if len(r.args) > 0 {
		about, _ = report.ParseTarget(r.args[0]) // a wrong target has no address and no pod
	}
	known, err := doctor.Known(ctx, config, node, about.Addresses, about.Pods)
	if err != nil {
		known = []string{"nothing: " + err.Error()}
	}
	return fmt.Sprintf("What the API server alone says:\n- %s\nOn the node, this needs no agent: hnsguard.exe %s "+
		"--node-name %s --kubeconfig FILE", strings.Join(known, "\n- "), strings.Join(command[1:], " "), node)
}

// findNode returns the node, or the node of the pod.
func (r remote) findNode(ctx context.Context, api client.Reader) (string, error) {
	if r.node != "" {
		return r.node, nil
	}
	var pod corev1.Pod
	err := api.Get(ctx, r.pod, &pod)
	switch {
	case apierrors.IsNotFound(err):
		return "", fmt.Errorf("there is no Pod %s; name the node with --node to explain a Service on it", r.pod)
	case err != nil:
		return "", fmt.Errorf("looking for the node of Pod %s: %w", r.pod, err)
	case pod.Spec.NodeName == "":
		return "", fmt.Errorf("looking for the node of Pod %s: it is not scheduled yet; "+
			"'kubectl -n %s describe pod %s' says why",
			r.pod, r.pod.Namespace, r.pod.Name)
	default:
		return pod.Spec.NodeName, nil
	}
}

// noPod is the podOf of commands that do not name a pod.
func noPod([]string) (types.NamespacedName, bool) { return types.NamespacedName{}, false }

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// logOptions are the flags of the log.
type logOptions struct {
	level, format string
}

func (o *logOptions) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.level, "log-level", "info",
		"error, info, debug (every decision) or trace (the Kubernetes client too)")
	flags.StringVar(&o.format, "log-format", "json", "json or text")
}

// levelDebug is logr's V(1), which shows every decision. Higher V levels show the work of the Kubernetes client.
const levelDebug slog.Level = -1

// logger returns the logger.
func (o *logOptions) logger(w io.Writer) (logr.Logger, error) {
	level, known := map[string]slog.Level{
		"error": slog.LevelError, "info": slog.LevelInfo, "debug": levelDebug, "trace": -6,
	}[o.level]
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: nameLevel}
	var handler slog.Handler = slog.NewJSONHandler(w, options)
	if o.format == "text" {
		handler = slog.NewTextHandler(w, options)
	}
	var errs []error
	if !known {
		errs = append(errs, fmt.Errorf("--log-level %q: must be error, info, debug or trace", o.level))
	}
	if o.format != "json" && o.format != "text" {
		errs = append(errs, fmt.Errorf("--log-format %q: must be json or text", o.format))
	}
	return logr.FromSlogHandler(handler), usage(errors.Join(errs...))
}

// nameLevel names the levels below info like the flag; slog would print DEBUG+3.
func nameLevel(_ []string, a slog.Attr) slog.Attr {
	level, ok := a.Value.Any().(slog.Level)
	if a.Key != slog.LevelKey || !ok {
		return a
	}
	switch {
	case level >= slog.LevelInfo:
		return slog.String(a.Key, strings.ToLower(level.String()))
	case level >= levelDebug:
		return slog.String(a.Key, "debug")
	default:
		return slog.String(a.Key, "trace")
	}
}

// setGlobal sets the logger of controller-runtime, client-go and the standard library, which only have a global one.
// The standard library logs at debug level, because any client can make an HTTP server log endlessly.
func setGlobal(log logr.Logger) {
	logf.SetLogger(log)
	klog.SetLogger(log)
	slog.SetLogLoggerLevel(levelDebug)
	slog.SetDefault(slog.New(logr.ToSlogHandler(log)))
}

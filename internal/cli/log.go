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

func (o *logOptions) addTo(cmd *cobra.Command, level, format string) {
	flags := cmd.Flags()
	flags.StringVar(&o.level, "log-level", level,
		"error, info, debug (every decision) or trace (the Kubernetes client too)")
	completeValues(cmd, "log-level", "error", "info", "debug\tevery decision", "trace\tthe Kubernetes client too")
	flags.StringVar(&o.format, "log-format", format, "json or text")
	completeValues(cmd, "log-format", "json", "text")
}

// levelDebug is logr's V(1).
const levelDebug slog.Level = -1

// logger makes the log. The levels below info are those of logr: debug shows every decision, trace the work of the
// Kubernetes client.
func (o *logOptions) logger(w io.Writer) (logr.Logger, error) {
	levels := map[string]slog.Level{
		"error": slog.LevelError, "info": slog.LevelInfo, "debug": levelDebug, "trace": -6,
	}
	var errs []error
	level, ok := levels[o.level]
	if !ok {
		errs = append(errs, usageError{fmt.Errorf("--log-level %q: must be error, info, debug or trace", o.level)})
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: nameLevel}
	var handler slog.Handler
	switch o.format {
	case "json":
		handler = slog.NewJSONHandler(w, options)
	case "text":
		handler = slog.NewTextHandler(w, options)
	default:
		errs = append(errs, usageError{fmt.Errorf("--log-format %q: must be json or text", o.format)})
	}
	if err := errors.Join(errs...); err != nil {
		return logr.Logger{}, err
	}
	return logr.FromSlogHandler(handler), nil
}

// nameLevel gives logr's levels below info the names of the flag; slog would print DEBUG+3.
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

// setGlobal makes log the log of controller-runtime, client-go and the standard library too, which only have a global
// one. What the standard library logs is for debugging: any client can make an HTTP server log lines without limit.
func setGlobal(log logr.Logger) {
	logf.SetLogger(log)
	klog.SetLogger(log)
	slog.SetLogLoggerLevel(levelDebug)
	slog.SetDefault(slog.New(logr.ToSlogHandler(log)))
}

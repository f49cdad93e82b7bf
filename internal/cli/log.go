// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// logOptions are the flags of the log.
type logOptions struct {
	level, format string
}

func (o *logOptions) addTo(flags *pflag.FlagSet, level, format string) {
	flags.StringVar(&o.level, "log-level", level, "error, info, debug (every decision) or trace (the Kubernetes client)")
	flags.StringVar(&o.format, "log-format", format, "json or text")
}

// logger builds the log. Levels below info are those of logr: debug shows what was decided about every endpoint, trace
// what the Kubernetes client does.
func (o logOptions) logger(w io.Writer) (logr.Logger, error) {
	levels := map[string]slog.Level{
		"error": slog.LevelError, "info": slog.LevelInfo, "debug": -1, "trace": -6,
	}
	level, ok := levels[o.level]
	if !ok {
		return logr.Logger{}, fmt.Errorf("--log-level %q: want error, info, debug or trace", o.level)
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: nameLevel}
	switch o.format {
	case "json":
		return logr.FromSlogHandler(slog.NewJSONHandler(w, options)), nil
	case "text":
		return logr.FromSlogHandler(slog.NewTextHandler(w, options)), nil
	default:
		return logr.Logger{}, fmt.Errorf("--log-format %q: want json or text", o.format)
	}
}

// nameLevel gives logr's levels below info the names that the flag has for them; slog would print DEBUG+3.
func nameLevel(_ []string, a slog.Attr) slog.Attr {
	level, ok := a.Value.Any().(slog.Level)
	if a.Key != slog.LevelKey || !ok {
		return a
	}
	switch {
	case level >= slog.LevelInfo:
		return slog.String(a.Key, strings.ToLower(level.String()))
	case level >= -1:
		return slog.String(a.Key, "debug")
	default:
		return slog.String(a.Key, "trace")
	}
}

// setGlobal makes the log that of controller-runtime, of client-go and of the standard library too, which have only a
// global one. In the last its HTTP server complains of clients that do not trust the certificate of the metrics.
func setGlobal(log logr.Logger) {
	logf.SetLogger(log)
	klog.SetLogger(log)
	slog.SetDefault(slog.New(logr.ToSlogHandler(log)))
}

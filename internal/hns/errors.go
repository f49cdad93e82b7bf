// SPDX-License-Identifier: Apache-2.0

package hns

import (
	"context"
	"errors"
)

var (
	// ErrNotFound says that HNS answered that the object does not exist.
	ErrNotFound = errors.New("not found in HNS")

	// ErrUnavailable says that HNS itself could not be reached: the service is stopped, starting or crashed. This proves
	// nothing about any object.
	ErrUnavailable = errors.New("HNS is unavailable")

	// ErrTimeout says that the call did not return within its deadline. It was abandoned, not cancelled: it may still
	// take effect.
	ErrTimeout = errors.New("HNS call timed out")

	// ErrSaturated says that the call was not made, because too many abandoned calls still hang.
	ErrSaturated = errors.New("too many HNS calls hang")

	// ErrUnsupported says that this system has no HNS.
	ErrUnsupported = errors.New("this system has no HNS")
)

// ErrorClass is the closed set of ways in which an HNS call fails. It is a label of the metrics.
type ErrorClass string

// The error classes. ClassOther is every error of HNS that no other class describes.
const (
	ClassNotFound    ErrorClass = "not_found"
	ClassUnavailable ErrorClass = "unavailable"
	ClassTimeout     ErrorClass = "timeout"
	ClassSaturated   ErrorClass = "saturated"
	ClassCanceled    ErrorClass = "canceled"
	ClassOther       ErrorClass = "other"
)

// ErrorClasses lists every class, so that metrics can start at zero.
func ErrorClasses() []ErrorClass {
	return []ErrorClass{
		ClassNotFound, ClassUnavailable, ClassTimeout, ClassSaturated, ClassCanceled, ClassOther,
	}
}

// ClassOf returns the class of a non-nil error that came from a [Client].
func ClassOf(err error) ErrorClass {
	switch {
	case errors.Is(err, ErrNotFound):
		return ClassNotFound
	case errors.Is(err, ErrUnavailable):
		return ClassUnavailable
	case errors.Is(err, ErrTimeout):
		return ClassTimeout
	case errors.Is(err, ErrSaturated):
		return ClassSaturated
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ClassCanceled
	default:
		return ClassOther
	}
}

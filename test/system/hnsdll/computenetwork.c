/* SPDX-License-Identifier: Apache-2.0
 *
 * computenetwork.dll: the Host Compute Network API, each function of which is one call to the server.
 */
#include "wire.h"

/* An open object. The API's handles are pointers to it. */
typedef struct {
	char guid[37];
} object;

static void spell(const GUID *g, char out[37])
{
	snprintf(out, 37, "%08lx-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", (unsigned long)g->Data1, g->Data2, g->Data3,
		 g->Data4[0], g->Data4[1], g->Data4[2], g->Data4[3], g->Data4[4], g->Data4[5], g->Data4[6], g->Data4[7]);
}

static HRESULT open_object(const char *kind, const GUID *id, void **handle, PWSTR *record)
{
	object *o = calloc(1, sizeof(*o));
	HRESULT hr;

	if (o == NULL)
		return E_OUTOFMEMORY;
	spell(id, o->guid);
	hr = call("open", kind, o->guid, NULL, NULL, record);
	if (FAILED(hr)) {
		free(o);
		o = NULL;
	}
	*handle = o;
	return hr;
}

/* Creates an object; the server answers with its GUID. The GUID that goes before the settings is that of the network
 * for an endpoint, and for all others the one that the caller asks for. */
static HRESULT create_object(const char *kind, const char *before, PCWSTR settings, void **handle, PWSTR *record)
{
	PWSTR made = NULL;
	char *guid;
	object *o = NULL;
	HRESULT hr = call("create", kind, before, settings, &made, record);

	if (SUCCEEDED(hr)) {
		o = calloc(1, sizeof(*o));
		guid = to_utf8(made);
		if (o == NULL || guid == NULL)
			return E_OUTOFMEMORY;
		strncpy(o->guid, guid, sizeof(o->guid) - 1);
		free(guid);
	}
	CoTaskMemFree(made);
	*handle = o;
	return hr;
}

#define API __declspec(dllexport) HRESULT WINAPI

/* The functions that every kind of object has. */
#define OBJECT(Name, Names, kind)                                                                                       \
	API HcnEnumerate##Names(PCWSTR query, PWSTR *ids, PWSTR *record)                                                \
	{                                                                                                               \
		return call("enumerate", kind, "", query, ids, record);                                                 \
	}                                                                                                               \
	API HcnOpen##Name(const GUID *id, void **handle, PWSTR *record) { return open_object(kind, id, handle, record); } \
	API HcnModify##Name(void *handle, PCWSTR settings, PWSTR *record)                                               \
	{                                                                                                               \
		return call("modify", kind, ((object *)handle)->guid, settings, NULL, record);                          \
	}                                                                                                               \
	API HcnQuery##Name##Properties(void *handle, PCWSTR query, PWSTR *properties, PWSTR *record)                    \
	{                                                                                                               \
		return call("query", kind, ((object *)handle)->guid, query, properties, record);                        \
	}                                                                                                               \
	API HcnDelete##Name(const GUID *id, PWSTR *record)                                                              \
	{                                                                                                               \
		char guid[37];                                                                                          \
		spell(id, guid);                                                                                        \
		return call("delete", kind, guid, NULL, NULL, record);                                                  \
	}                                                                                                               \
	API HcnClose##Name(void *handle)                                                                                \
	{                                                                                                               \
		free(handle);                                                                                           \
		return S_OK;                                                                                            \
	}

/* The creation of all kinds but endpoints. */
#define CREATE(Name, kind)                                                                                              \
	API HcnCreate##Name(const GUID *id, PCWSTR settings, void **handle, PWSTR *record)                              \
	{                                                                                                               \
		char guid[37];                                                                                          \
		spell(id, guid);                                                                                        \
		return create_object(kind, guid, settings, handle, record);                                             \
	}

OBJECT(Network, Networks, "network")
OBJECT(Endpoint, Endpoints, "endpoint")
OBJECT(Namespace, Namespaces, "namespace")
OBJECT(LoadBalancer, LoadBalancers, "loadbalancer")
OBJECT(SdnRoute, SdnRoutes, "route")
CREATE(Network, "network")
CREATE(Namespace, "namespace")
CREATE(LoadBalancer, "loadbalancer")
CREATE(SdnRoute, "route")

API HcnCreateEndpoint(void *network, const GUID *id, PCWSTR settings, void **handle, PWSTR *record)
{
	(void)id;
	return create_object("endpoint", ((object *)network)->guid, settings, handle, record);
}

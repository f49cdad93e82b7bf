// SPDX-License-Identifier: Apache-2.0

// Package recorded reads what people have when they report an HNS problem, so that a node can be judged far from it.
//
// The format is found from the content:
//
//   - JSON: Get-HnsEndpoint, Get-HnsNetwork, Get-HnsPolicyList and Get-HnsLoadBalancer piped into ConvertTo-Json, of
//     the older V1 objects and of the V2 objects of hcn; one object, an array, or objects in a row as
//     "hnsdiag list … -d" prints them; plain, inside HNS's envelope {"Success":true,"Output":…} or inside
//     PowerShell's {"value":…,"Count":…}.
//   - Text of "hnsdiag list", both the tables of Windows Server 2019 and the blocks of later systems.
//   - Text of Get-HnsEndpoint as PowerShell shows it, Format-List or Format-Table.
//   - The files endpoint.txt, network.txt and policy.txt that Microsoft's collectlogs.ps1 and the EKS and Rancher log
//     collectors write: a summary table with the JSON after it.
//
// A file may be in UTF-8 or UTF-16 and may hold the prompt lines of a console.
//
// Invariants:
//
//  1. Nothing is lost in silence. A file is read whole or not at all, and everything wrong with it is reported at
//     once, each fault with its line. A line or an object that is not understood is a fault, a list cut short is a
//     fault, and an empty file is one too. Passed over are only: properties that an [hns.Endpoint] and its like do not
//     have, namespaces (the endpoints say themselves where they are attached), the summary table without IDs
//     above JSON of the same kind, blank lines and prompts.
//  2. Unknown is never absent. [Dump] says which kinds of objects were recorded at all, and names for each endpoint
//     what its format does not tell ([Gap]). Nothing is guessed from names: "Ethernet" may be local or remote.
//  3. A record that contradicts itself or another is a fault or a gap, never the first or the last one read.
//  4. Everything that is returned has the shape that package hns promises for live objects.
//
// # What the formats tell
//
// V1 JSON says IsRemoteEndpoint only of remote endpoints, so without it an endpoint is local; a set remote bit in Flags
// beside that is a contradiction and leaves the kind open. V2 JSON has the bit in Flags alone. Text of hnsdiag tells
// the kind in no version seen, nor the hardware address; its tables of Windows Server 2019 tell no addresses either,
// its later blocks no network. Format-Table tells the columns that were asked for.
//
// An endpoint counts as attached on any sign of it: a namespace, listed containers, or the V1 states Attached (2) and
// AttachedSharing (3). HNS may report these states with neither a namespace nor a container listed; the endpoint is
// then given one container, which stands for the user that the record does not name.
package recorded

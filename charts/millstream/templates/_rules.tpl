{{/*
What the operator may do where it runs Pipelines. Everything that it grants workers it must hold itself: reading
PipelineAssignments. It never writes a spec of a Pipeline; `patch` is for finalizers.
*/}}
{{- define "millstream.rules" -}}
- apiGroups: [millstream.dev]
  resources: [pipelines]
  verbs: [get, list, watch, patch]
- apiGroups: [millstream.dev]
  resources: [pipelines/status]
  verbs: [get, patch, update]
- apiGroups: [millstream.dev]
  resources: [pipelines/finalizers]
  verbs: [update]
- apiGroups: [millstream.dev]
  resources: [pipelineassignments]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, update, delete]
# Patched is the annotation that says which pod goes first when there are to be fewer.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
# Only those that a Pipeline's connections name, and only when the operator connects to Kafka.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

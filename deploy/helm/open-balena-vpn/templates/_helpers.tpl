{{/* All helpers that know about a part take (dict "root" $ "component" "state"). */}}

{{- define "vpn.labels" -}}
{{ include "vpn.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "vpn.selector" -}}
app.kubernetes.io/name: openbalena-vpn
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Of an instance's Pod: the controller sets these. */}}
{{- define "vpn.instanceSelector" -}}
app.kubernetes.io/name: openbalena-vpn
app.kubernetes.io/component: instance
vpn.openbalena.io/pool: {{ .Values.pool.name }}
{{- end }}

{{- define "vpn.image" -}}
{{- $i := .Values.image -}}
{{- with $i.registry }}{{ . }}/{{ end }}{{ $i.repository }}
{{- if $i.digest }}@{{ $i.digest }}{{ else }}:{{ $i.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* Where the pool is part of the manifest, what is not the chart's to say is looked up. As JSON; "{}"
     where there is no cluster, or no pool. (Where a Job applies it, the Job sees to that.) */}}
{{- define "vpn.livePool" -}}
{{- if and (eq .Values.pool.by "manifest") (.Capabilities.APIVersions.Has "vpn.openbalena.io/v1alpha1/VPNPool") -}}
{{- lookup "vpn.openbalena.io/v1alpha1" "VPNPool" .Release.Namespace .Values.pool.name | toJson -}}
{{- else -}}
{}
{{- end -}}
{{- end }}

{{- define "vpn.liveImage" -}}
{{- include "vpn.livePool" . | fromJson | dig "spec" "kubernetes" "image" "" -}}
{{- end }}

{{/* Empty: not written. */}}
{{- define "vpn.replicas" -}}
{{- if not .Values.autoscaling.enabled -}}
{{- $live := include "vpn.livePool" . | fromJson | dig "spec" "replicas" nil -}}
{{- if and .Values.pool.keepReplicas (not (kindIs "invalid" $live)) -}}
{{- int $live -}}
{{- else if not (kindIs "invalid" .Values.pool.replicas) -}}
{{- int .Values.pool.replicas -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The definition is there already, and somebody else's: "release NAME in namespace NS", or "nobody". One a
     cluster is enough; whose it is upgrades it. Empty: it is ours, or there is none. */}}
{{- define "vpn.foreignDefinition" -}}
{{- $crd := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "vpnpools.vpn.openbalena.io" -}}
{{- if $crd -}}
{{- $annotations := $crd.metadata.annotations | default dict -}}
{{- $name := index $annotations "meta.helm.sh/release-name" | default "" -}}
{{- $namespace := index $annotations "meta.helm.sh/release-namespace" | default "" -}}
{{- if not $name -}}
nobody
{{- else if or (ne $name .Release.Name) (ne $namespace .Release.Namespace) -}}
release {{ $name }} in namespace {{ $namespace }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "vpn.apiSecretName" -}}
{{- .Values.keys.existingSecret | default "openbalena-vpn" -}}
{{- end }}

{{- define "vpn.apiConfigMapName" -}}
{{- .Values.api.existingConfigMap | default "openbalena-vpn" -}}
{{- end }}

{{/* Ports of the balena API as a JSON list of numbers: the one that its host means, and those that are set. */}}
{{- define "vpn.apiPorts" -}}
{{- $ports := .Values.networkPolicy.apiPorts -}}
{{- if .Values.api.existingConfigMap -}}
{{- $ports = $ports | default (list 80 443) -}}
{{- else -}}
{{- $url := .Values.api.internalHost | default .Values.api.host -}}
{{- $http := ternary (not (hasPrefix "https://" $url)) (hasPrefix "http://" $url) (ne .Values.api.internalHost "") -}}
{{- $authority := regexReplaceAll "^https?://" $url "" | splitList "/" | first -}}
{{- $port := regexFind ":[0-9]+$" $authority | trimPrefix ":" | default (ternary "80" "443" $http) -}}
{{- $ports = append $ports $port -}}
{{- end -}}
{{- $numbers := list -}}
{{- range $ports -}}{{- $numbers = append $numbers (int .) -}}{{- end -}}
{{- $numbers | uniq | toJson -}}
{{- end }}

{{/* The keys. The previous one and a guest key may be missing. */}}
{{- define "vpn.keyEnv" -}}
- name: VPN_SERVICE_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ include "vpn.apiSecretName" . }}
      key: VPN_SERVICE_API_KEY
- name: VPN_SERVICE_API_KEY_PREVIOUS
  valueFrom:
    secretKeyRef:
      name: {{ include "vpn.apiSecretName" . }}
      key: VPN_SERVICE_API_KEY_PREVIOUS
      optional: true
{{- end }}

{{- define "vpn.guestKeyEnv" -}}
- name: VPN_GUEST_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ include "vpn.apiSecretName" . }}
      key: VPN_GUEST_API_KEY
      optional: true
{{- end }}

{{- define "vpn.apiEnvFrom" -}}
- configMapRef:
    name: {{ include "vpn.apiConfigMapName" . }}
{{- end }}

{{/* What a changed setting of ours changes in a Pod, so that it is replaced. */}}
{{- define "vpn.podAnnotations" -}}
checksum/config: {{ include (print .root.Template.BasePath "/config.yaml") .root | sha256sum }}
{{- with .values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "vpn.podLabels" -}}
{{ include "vpn.labels" . }}
{{- with .values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of a Pod's spec: where it runs and as whom. "restricted" in the words of Pod Security. */}}
{{- define "vpn.podSpec" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash] # those that an upgrade replaces do not count
    labelSelector:
      matchLabels: {{- include "vpn.selector" . | nindent 8 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "vpn.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "vpn.rollingUpdate" -}}
type: RollingUpdate
rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
{{- end }}

{{/* (dict "port" "metrics") */}}
{{- define "vpn.probes" -}}
livenessProbe:
  httpGet: {path: /healthz, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ .port }}}
  periodSeconds: 2
  timeoutSeconds: 3
{{- end }}

{{- define "vpn.pdb" -}}
{{- if .values.pdb.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: vpn-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "vpn.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.pdb.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "vpn.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* The part of a Service that people choose. (dict "values" .Values.service) */}}
{{- define "vpn.serviceSpec" -}}
type: {{ .values.type }}
{{- with .values.loadBalancerClass }}
loadBalancerClass: {{ . }}
{{- end }}
{{- with .values.loadBalancerSourceRanges }}
loadBalancerSourceRanges: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if and .values.externalTrafficPolicy (ne .values.type "ClusterIP") }}
externalTrafficPolicy: {{ .values.externalTrafficPolicy }}
{{- end }}
{{- end }}

{{/* --- of NetworkPolicies --- */}}

{{- define "vpn.peer" -}}
- podSelector:
    matchLabels: {{- include "vpn.selector" . | nindent 6 }}
{{- end }}

{{- define "vpn.dnsEgress" -}}
- ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - {port: {{ . }}, protocol: UDP}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .Values.networkPolicy.dnsTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "vpn.apiEgress" -}}
- ports:
    {{- range include "vpn.apiPorts" . | fromJsonArray }}
    - port: {{ . }}
    {{- end }}
  {{- with .Values.networkPolicy.apiTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "vpn.kubernetesEgress" -}}
- ports:
    {{- range .Values.networkPolicy.kubernetesPorts }}
    - port: {{ . }}
    {{- end }}
  {{- with .Values.networkPolicy.kubernetesTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

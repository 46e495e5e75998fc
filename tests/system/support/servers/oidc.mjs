// oidc-provider, an identity provider that is not ours: authorization code with PKCE, device code, refresh tokens
// that rotate and end their grant when one is used twice, client credentials, revocation. It prints its port.
import http from 'node:http';

const { default: Provider } = await import(`${process.env.NODE_MODULES}/oidc-provider/lib/index.js`);

const configuration = {
    clients: [
        {
            client_id: 'desktop',
            application_type: 'native',
            token_endpoint_auth_method: 'none',
            redirect_uris: ['http://127.0.0.1/back', 'http://localhost/back'],
            grant_types: [
                'authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code',
            ],
            response_types: ['code'],
        },
        {
            client_id: 'server',
            client_secret: 'a secret that only we know',
            token_endpoint_auth_method: 'client_secret_post',
            redirect_uris: [],
            grant_types: ['client_credentials'],
            response_types: [],
        },
    ],
    claims: { openid: ['sub'], email: ['email'], profile: ['preferred_username'] },
    conformIdTokenClaims: false,
    cookies: { keys: ['only for tests'] },
    features: {
        clientCredentials: { enabled: true },
        deviceFlow: { enabled: true },
        devInteractions: { enabled: true },
        revocation: { enabled: true },
    },
    findAccount: (_context, id) => ({
        accountId: id,
        claims: () => ({ sub: id, email: id, preferred_username: id }),
    }),
    issueRefreshToken: () => true,
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: { AccessToken: 3600, ClientCredentials: 3600, RefreshToken: 86400, Grant: 86400, Session: 3600, Interaction: 600 },
};

const server = http.createServer();
server.listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    const provider = new Provider(`http://127.0.0.1:${port}`, configuration);
    for (const event of ['grant.error', 'grant.revoked', 'grant.success', 'server_error', 'revocation.success']) {
        provider.on(event, (context, error) => {
            console.log(event, context?.oidc?.params?.grant_type ?? '-', error?.error_description ?? error?.message ?? '');
        });
    }
    provider.on('revocation.error', (_context, error) => console.log('revocation.error', error.message));
    provider.on('refresh_token.destroyed', () => console.log('refresh_token.destroyed'));
    server.on('request', provider.callback());
    console.log(`ready ${port}`);
});

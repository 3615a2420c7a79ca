// The page comes from Vite, everything else from the backend.
import react from '@vitejs/plugin-react';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const { BACKEND: backend = 'http://127.0.0.1:8080', PORT: port = '5173' } = process.env;
// The package out of this clone. An application installs it.
const dist = fileURLToPath(new URL('../../dist/', import.meta.url));

export default defineConfig({
    plugins: [react()],
    resolve: {
        alias: {
            '@channelstream/channelstream/ai': `${dist}ai.js`,
            '@channelstream/channelstream/shared': `${dist}shared.js`,
        },
    },
    server: {
        host: '127.0.0.1',
        port: Number(port),
        strictPort: true,
        proxy: { '/api': backend, '/connect': backend },
        fs: { allow: ['.', dist] },
    },
});
